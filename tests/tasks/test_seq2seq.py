"""Pairs to rows, and a trained model to answers."""

from __future__ import annotations

import numpy as np
import pytest

from sublayer.config.schema import LinesData, Recipe, TokenizerSection, TokenizerSide, Training
from sublayer.data.source import read
from sublayer.data.store import Store
from sublayer.training.prepare import make_task, tokenize


def pairs_of(store: Store) -> list[tuple[list[int], list[int]]]:
    rows = store.rows(np.arange(len(store)))
    return [(source.tolist(), target.tolist()) for source, target in rows]


SECTION = TokenizerSection(
    source=TokenizerSide(kind="characters"), target=TokenizerSide(kind="words")
)


def write_lines(folder, sources: list[str], *targets: list[str]) -> Recipe:
    files = []
    for number, texts in enumerate([sources, *targets]):
        (folder / str(number)).write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        files.append(str(folder / str(number)))
    data = LinesData(train=(files[0], files[1]), test=files, max_source=4, max_target=2)
    return Recipe(data=data, tokenizer=SECTION, training=Training(steps=1))


def test_tokenize_leaves_out_and_counts(tmp_path):
    recipe = write_lines(
        tmp_path,
        ["ab", "", "abcd", "abcde", "b", " ", "a"],
        ["A B", "A", "A", "A", " ", "A", "A B C"],
    )
    task = make_task(recipe, read(recipe.data, "train"))
    tokenizers = task.tokenizers
    store = tokenize(task, read(recipe.data, "train"), tmp_path / "store")
    assert [tokenizers.source.decode(source) for source, _ in pairs_of(store)] == ["ab", "abcd"]
    assert [tokenizers.target.decode(target) for _, target in pairs_of(store)] == ["A B", "A"]
    counts = {
        "pairs": 2,
        "source_tokens": 6,
        "target_tokens": 3,
        "skipped_empty": 3,
        "skipped_long": 2,
    }
    assert dict(Store.open(tmp_path / "store").meta) == {**counts, "bytes_per_id": 2}


def test_tokenize_takes_every_target(tmp_path):
    recipe = write_lines(tmp_path, ["a", "b"], ["A", "B"], ["C", "D"])
    task = make_task(recipe, read(recipe.data, "test"))
    tokenizers = task.tokenizers
    store = tokenize(task, read(recipe.data, "test"), tmp_path / "store")
    decoded = [
        (tokenizers.source.decode(s), tokenizers.target.decode(t)) for s, t in pairs_of(store)
    ]
    assert decoded == [("a", "A"), ("a", "C"), ("b", "B"), ("b", "D")]


def test_no_pair_is_left(tmp_path):
    recipe = write_lines(tmp_path, ["", "abcde"], ["A", "B"])
    task = make_task(recipe, read(recipe.data, "train"))
    message = "nothing of the split 'train' is left: 1 have an empty side, 1 are too long; correct"
    with pytest.raises(ValueError, match=message):
        tokenize(task, read(recipe.data, "train"), tmp_path / "train")
    assert not (tmp_path / "train").exists()
