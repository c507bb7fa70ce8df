"""A file of word vectors as a run: it answers, is measured by files, and is gone on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sublayer import load
from sublayer.config.schema import Recipe
from sublayer.training.convert import convert, differences
from sublayer.training.evaluate import evaluate
from sublayer.training.start import train

FILE = """6 3
</s> 9 9 9
king 5 0 1
queen 5 1 1
man 0 0 1
woman 0 1 1
red -1 0.1 0
"""


FILE_AGAIN = """5 3
king 5.0 0.0 1.0
queen 5.0 1.0 1.0
man 0.0 0.0 1.0
woman 0.0 1.0 1.0
red -1.0 0.1 0.0
"""
FILES_OF = {"similarity": "alike", "analogies": "questions"}


@pytest.fixture
def converted(tmp_path) -> Path:
    (tmp_path / "words.vec").write_text(FILE)
    convert(tmp_path / "words.vec", tmp_path / "run", "sublayer")
    return tmp_path / "run"


def test_a_file_of_vectors_becomes_a_run(converted, tmp_path):
    model = load(converted)
    assert model.words == ["king", "queen", "man", "woman", "red"]
    assert model(["man king woman", "King"]) == ["queen", "queen"]
    assert model(["</s>", "<unk>", "knight"]) == [
        f"unknown: {w}" for w in ("</s>", "<unk>", "knight")
    ]
    (tmp_path / "alike").write_text("king queen 9\nking man 3\nking red 1\n")
    (tmp_path / "questions").write_text("man king woman queen\n")
    given = {key: str(tmp_path / name) for key, name in FILES_OF.items()}
    found = evaluate(converted, changes={"evaluation": given}).outcome
    assert (found.rows, found.setting) == (0, "by files alone")
    values = {name: score.value for name, score in found.metrics.items()}
    assert values == pytest.approx({"similarity_alike": 1.0, "analogies_questions": 1.0})
    convert(converted, tmp_path / "again.vec", "vec")
    assert (tmp_path / "again.vec").read_text() == FILE_AGAIN


def test_a_file_with_capitals_keeps_them(tmp_path):
    (tmp_path / "words.txt").write_text("Paris 1 0\nparis 0 1\nOslo 1 0.1\n")
    network, theirs = convert(tmp_path / "words.txt", tmp_path / "run", "sublayer")
    assert load(tmp_path / "run")(["Paris", "OSLO"]) == ["Oslo", "unknown: OSLO"]
    assert [d.largest for d in differences(network, theirs)] == [0.0]


def test_a_run_of_a_file_has_no_text_and_no_counts(converted, tmp_path):
    with pytest.raises(ValueError, match="has no test data; measure its vectors by files: evalua"):
        evaluate(converted)
    (tmp_path / "texts").write_text("king queen\n")
    with pytest.raises(ValueError, match="vectors of a file come without counts of their words"):
        evaluate(converted, files=[str(tmp_path / "texts")])


def test_a_run_goes_on_from_a_file_of_vectors(converted, tmp_path):
    (tmp_path / "texts").write_text("king queen man woman red\n" * 3)
    file = str(tmp_path / "texts")
    begun = Recipe.model_validate(
        {
            "data": {"kind": "text", "train": file, "test": file},
            "model": {"from": str(converted)},
            "objective": {"kind": "words"},
            "training": {"steps": 2},
        }
    )
    train(begun, tmp_path / "new")
    assert load(tmp_path / "new").words == load(converted).words
    assert evaluate(tmp_path / "new").outcome.metrics.keys() == {"nll"}


def test_files_that_become_no_run(tmp_path):
    (tmp_path / "words.vec").write_text("</s> 1 2\n")
    with pytest.raises(ValueError, match=r"words\.vec has no words: give a file of word vectors"):
        convert(tmp_path / "words.vec", tmp_path / "run", "sublayer")
    for to in ("huggingface", "vec"):
        with pytest.raises(
            ValueError, match=r"words\.vec is a file; one of word vectors becomes a"
        ):
            convert(tmp_path / "words.vec", tmp_path / "run", to)
    assert not (tmp_path / "run").exists()
