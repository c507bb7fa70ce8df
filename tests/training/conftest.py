"""A run small enough to train in a second: reversing words."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from sublayer.config.files import load_recipe
from sublayer.config.schema import Recipe

MakeRecipe = Callable[..., Recipe]


def words(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdef", k=rng.randint(2, 7))) for _ in range(n)]


@pytest.fixture
def recipe_file(tmp_path: Path, write_recipe: Callable[[Path], Path]) -> Path:
    return write_recipe(tmp_path)


@pytest.fixture(scope="session")
def write_recipe() -> Callable[[Path], Path]:
    """Writes the recipe and its data into a folder."""
    return _write_recipe


def _write_recipe(tmp_path: Path) -> Path:
    for split, n in (("train", 300), ("valid", 40), ("test", 40)):
        rows = "".join(f"{word}\t{word[::-1]}\n" for word in words(n, len(split)))
        (tmp_path / f"{split}.tsv").write_text(rows)
    data = {"kind": "tsv", "source": 0, "target": 1}
    recipe = {
        "seed": 3,
        "data": data
        | {split: str(tmp_path / f"{split}.tsv") for split in ("train", "valid", "test")},
        "tokenizer": {"shared": {"kind": "characters", "vocab_size": 32}},
        "model": {"family": "transformer", "d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32},
        "training": {
            "steps": 30,
            "batch_tokens": 200,
            "log": "4 steps",
            "evaluate": "10 steps",
            "checkpoint": "7 steps",
            "schedule": {"kind": "cosine", "lr": 3e-3, "warmup": 5},
            "precision": "float32",
            "samples": 1,
        },
        "generation": {"beam": 2, "max_length": 12},
        "evaluation": {"metrics": ["exact_match", "per"]},
    }
    file = tmp_path / "recipe.toml"
    file.write_text(tomli_w.dumps(recipe))
    return file


@pytest.fixture
def make_recipe(recipe_file: Path) -> MakeRecipe:
    return lambda *changes: load_recipe(recipe_file, changes)
