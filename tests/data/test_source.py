"""Splits, and CMUdict."""

from __future__ import annotations

import hashlib
import json
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import CmudictData, LinesData, Splits, TableData
from sublayer.data.source import Pair, read, split_of, splits


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_split_follows_from_the_hash_of_the_source(text):
    bucket = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % 100
    expected = "train" if bucket < 80 else "valid" if bucket < 87 else "test"
    assert split_of(text.encode(), Splits(train=80, valid=7, test=13)) == expected


def test_shares_of_the_training_files(tmp_path):
    rows = [{"source": str(i // 2), "target": str(i)} for i in range(400)]
    for name, part in (("a", rows[:100]), ("b", rows[100:])):
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in part), encoding="utf-8")
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    data = TableData(kind="jsonl", train=files, splits=Splits(train=70, valid=10, test=20))
    assert splits(data) == ("train", "valid", "test")
    parts = {split: list(read(data, split)) for split in splits(data)}
    every = [Pair(row["source"], (row["target"],)) for row in rows]
    assert (
        sorted(chain.from_iterable(parts.values()), key=lambda pair: int(pair.targets[0])) == every
    )
    sources = [{pair.source for pair in part} for part in parts.values()]
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]
    assert not sources[1] & sources[2]
    assert len(parts["train"]) > len(parts["test"]) > len(parts["valid"]) > 0


def test_a_share_of_nothing_is_no_split(tmp_path):
    data = TableData(kind="tsv", train="a.tsv", splits=Splits(train=95, valid=5, test=0))
    assert splits(data) == ("train", "valid")


def test_a_split_that_is_not_there():
    data = LinesData(train=("a", "b"))
    assert splits(data) == ("train",)
    with pytest.raises(ValueError, match=r"\[data\] has no 'valid' data: say where it is"):
        read(data, "valid")


def test_shares_and_files():
    data = TableData(kind="tsv", train="a.tsv", valid="b.tsv", splits=Splits())
    with pytest.raises(
        ValueError,
        match=r"\[data\] has 'splits' beside 'valid' or 'test' files: give one or the other",
    ):
        read(data, "train")


@pytest.fixture(scope="module")
def pronounced() -> list[Pair]:
    return list(read(CmudictData(kind="cmudict"), "train"))


def test_cmudict_words_in_order_with_all_pronunciations(pronounced):
    words = [pair.source for pair in pronounced]
    assert words == sorted(set(words))
    assert 0.88 < len(words) / 126_000 < 0.92
    by_word = {pair.source: pair.targets for pair in pronounced}
    assert by_word["transformer"] == ("T R AE N S F AO R M ER",)
    assert by_word["tomato"] == ("T AH M EY T OW", "T AH M AA T OW")


def test_cmudict_pronunciations_that_differ_in_stress_are_one(pronounced):
    assert all(len(set(pair.targets)) == len(pair.targets) > 0 for pair in pronounced)
    assert not {*"0123456789"} & {
        *"".join(target for pair in pronounced for target in pair.targets)
    }


def test_cmudict_stress_on_demand():
    stressed = read(CmudictData(kind="cmudict", stress=True), "train")
    assert next(pair for pair in stressed if pair.source == "transformer").targets == (
        "T R AE0 N S F AO1 R M ER0",
    )
