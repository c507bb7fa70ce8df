"""A run whose words begin with vectors of a file or of another run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sublayer.config.schema import Recipe
from sublayer.data.vectors import write_vectors
from sublayer.models.hub import load_network
from sublayer.tasks import Vocabulary
from sublayer.training import start
from sublayer.training.callbacks import Listener
from sublayer.training.prepare import prepare
from sublayer.training.run import Run, load_predictor
from sublayer.training.start import claim, train

WORDS = ["the", "cat", "dog", "sat", "ran", "nowhere"]
VECTORS = np.random.default_rng(0).normal(0, 0.5, (len(WORDS), 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    monkeypatch.setattr(start, "draw_curves", lambda *files: None)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = ["the cat sat\tgood", "the dog ran\tbad", "a cat ran\tgood", "a dog sat\tbad"] * 4
    (tmp_path / "rows.tsv").write_text("".join(f"{row}\n" for row in rows))
    write_vectors(tmp_path / "words.vec", WORDS, VECTORS)
    return tmp_path


def recipe_of(files: Path, *, kind: str = "words", **model: Any) -> Recipe:
    rows = str(files / "rows.tsv")
    keys = {
        "data": {"kind": "tsv", "source": 0, "target": 1, "train": rows, "valid": rows},
        "tokenizer": {"shared": {"kind": kind, "vocab_size": 300}},
        "objective": {"kind": "classify"},
        "model": {
            "family": "textcnn",
            "d_model": 4,
            "n_filters": 3,
            "vectors": str(files / "words.vec"),
        }
        | model,
        "training": {
            "steps": 4,
            "batch_tokens": 64,
            "checkpoint": "2 steps",
            "precision": "float32",
            "schedule": {"kind": "constant", "lr": 0.1, "warmup": 1},
        },
    }
    return Recipe.model_validate(keys)


def begun(files: Path, **keys: Any):
    """The run's task and network before its first step."""
    recipe = recipe_of(files, **keys)
    job = prepare(claim(recipe, files / "run", resume=True), recipe)
    return job.task.vocabulary.text, job.network


def rows_of(network: Any) -> list[torch.Tensor]:
    return [embed.table.weight.detach() for embed in network.embed.embeddings]


@pytest.mark.parametrize("channels", ["tuned", "static", "both"])
def test_words_of_the_file_begin_with_its_vectors(files, channels):
    tokenizer, network = begun(files, channels=channels)
    for table in rows_of(network):
        for word, vector in zip(WORDS[:-1], VECTORS, strict=False):
            assert np.array_equal(table[tokenizer.tokens.index(word)], vector)
        others = [i for i, token in enumerate(tokenizer.tokens) if token not in WORDS]
        bound = (3 * VECTORS[:5].var()) ** 0.5
        assert 0 < table[others].abs().max() <= bound * 1.0001
    assert torch.equal(rows_of(network)[0], rows_of(network)[-1])


def test_the_report_says_how_many_words_were_found(files):
    report = train(recipe_of(files), files / "run")
    assert report["vectors"] == {"found": 5, "of": 4 + 6}  # special ones, and "a"


def test_what_is_static_ends_as_it_began_and_the_file_is_not_needed_any_more(files):
    train(recipe_of(files, channels="both"), files / "run")
    (files / "words.vec").unlink()
    moved = shutil.move(files / "run", files / "moved")
    static, tuned = rows_of(load_network(Path(moved)))
    predictor = load_predictor(Path(moved))
    cat = predictor.vocabulary.text.tokens.index("cat")
    assert np.array_equal(static[cat], VECTORS[1])
    assert not torch.equal(static[cat], tuned[cat])
    assert set(predictor(["the cat sat", "the dog ran"])) <= {"good", "bad"}


class Halt(Listener):
    def on_step(self, moment):
        if moment.step == 3:
            raise KeyboardInterrupt

    def on_record(self, record):
        pass

    def on_samples(self, samples):
        pass

    def on_end(self):
        pass


def test_a_run_goes_on_without_the_file(files):
    recipe = recipe_of(files, channels="both")
    train(recipe, files / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, files / "parts", listeners=[Halt()])
    (files / "words.vec").unlink()
    train(recipe, files / "parts", resume=True)
    both = [(files / run / "model.safetensors").read_bytes() for run in ("whole", "parts")]
    assert both[0] == both[1]


def test_another_runs_table_can_be_begun_with(files):
    train(recipe_of(files), files / "first")
    (learned,) = rows_of(load_network(files / "first"))
    _, network = begun(files, vectors=str(files / "first"))
    (table,) = rows_of(network)
    assert torch.equal(table, learned)


@pytest.mark.parametrize(("family", "objective"), [("word2vec", "words"), ("glove", "glove")])
def test_vectors_of_words_can_be_begun_with(files, family, objective):
    (files / "texts.txt").write_text("the cat sat\nthe dog ran\n" * 8)
    keys = recipe_of(files).model_dump() | {
        "data": {"kind": "text", "unit": "line", "train": str(files / "texts.txt")},
        "objective": {"kind": objective},
        "model": {"family": family, "d_model": 4},
    }
    train(Recipe.model_validate(keys), files / "first")
    network, words = load_network(files / "first"), Vocabulary.load(files / "first").text.tokens
    tokenizer, begins = begun(files, vectors=str(files / "first"))
    (table,) = rows_of(begins)
    for word in WORDS[:-1]:
        expected = network.table[words.index(word)]
        assert torch.equal(table[tokenizer.tokens.index(word)], expected)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"d_model": 5}, "has vectors of 4 numbers, the model's are of 5; set model.d_model = 4"),
        ({"kind": "characters"}, "has none of the vocabulary's .* words; use a tokenizer of words"),
        ({"vectors": "absent.vec"}, "absent.vec"),
    ],
    ids=["width", "no word", "no file"],
)
def test_vectors_that_do_not_fit_are_refused(files, keys, message):
    with pytest.raises(ValueError, match=message):
        begun(files, **keys)


def test_models_without_one_table_of_words_are_refused(files):
    recipe = recipe_of(files)
    other = {"family": "vit", "vectors": "words.vec"}
    images = recipe.model_dump() | {"model": other, "tokenizer": None}
    images |= {"objective": {"kind": "images"}, "data": {"kind": "digits"}}
    images["evaluation"] = {}
    recipe = Recipe.model_validate(images)
    with pytest.raises(ValueError, match=r"model.vectors is for models with one vocabulary"):
        prepare(Run(files), recipe)


def test_a_model_to_begin_with_has_vectors_of_its_own(files):
    train(recipe_of(files), files / "first")
    recipe = recipe_of(files)
    keys = recipe.model_dump() | {
        "model": {"from": str(files / "first"), "vectors": "words.vec"},
        "tokenizer": None,
    }
    with pytest.raises(ValueError, match=r"model.from: .* has vectors of its own"):
        prepare(Run(files / "run"), Recipe.model_validate(keys))
