"""A task of each objective, bound to a few examples, without a file or a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from torch import nn

from sublayer.config.schema import Generation, Recipe
from sublayer.data.example import Example
from sublayer.models.base import FAMILIES
from sublayer.tasks import Task
from sublayer.training.prepare import make_task, model_config

DATA: dict[str, dict[str, Any]] = {
    "seq2seq": {"kind": "tsv", "train": "pairs.tsv"},
    "causal": {"kind": "text", "train": "texts"},
    "masked": {"kind": "text", "train": "texts"},
    "spans": {"kind": "text", "train": "texts"},
    "classify": {"kind": "tsv", "train": "labels.tsv"},
    "embed": {"kind": "tsv", "train": "pairs.tsv"},
    "tag": {"kind": "conll", "train": "tags.conll"},
    "answer": {"kind": "squad", "train": "questions.json"},
    "images": {"kind": "digits"},
    "words": {"kind": "text", "train": "texts"},
    "glove": {"kind": "text", "train": "texts"},
    "bidirectional": {"kind": "text", "train": "texts"},
}
"""What an objective learns from; none of the files is read."""

SMALL = {
    "d_model": 16,
    "n_layers": 1,
    "rounds": 1,
    "n_heads": 2,
    "d_head": 8,
    "d_ff": 16,
    "d_cell": 32,
    "filters": [8, 8],
    "d_reader": 8,
}
"""Keys of families; each is given those that it knows."""

MakeRecipe = Callable[..., Recipe]
MakeTask = Callable[..., Task]


def recipe_of(
    kind: str,
    *,
    tokenizer: str | None = "words",
    data: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    metrics: list[str] | None = None,
    **objective: Any,
) -> Recipe:
    keys: dict[str, Any] = {
        "data": DATA[kind] | (data or {}),
        "objective": {"kind": kind} | objective,
        "model": model or {},
        "training": {"steps": 1, "batch_tokens": 256},
        "evaluation": {"metrics": metrics or []},
    }
    if tokenizer is not None and kind != "images":
        side = {"kind": tokenizer, "vocab_size": 400}
        two = {"source": {"kind": "letters"}, "target": side}
        keys["tokenizer"] = two if kind == "bidirectional" else {"shared": side}
    return Recipe.model_validate(keys)


@pytest.fixture
def make_recipe() -> MakeRecipe:
    return recipe_of


@pytest.fixture
def bind() -> MakeTask:
    """`bind(kind, examples, **keys)`; keys as `recipe_of` has them."""
    return lambda kind, examples, **keys: make_task(recipe_of(kind, **keys), examples)


@pytest.fixture
def network_of() -> Callable[..., nn.Module]:
    """A small untrained network of a family for a task."""

    def make(task: Task, family: str, **keys: Any) -> nn.Module:
        known = {key: n for key, n in SMALL.items() if key in FAMILIES[family].model_fields}
        model = {"family": family, **known, **keys}
        recipe = Recipe.model_validate(
            task.recipe.model_dump(mode="json", exclude_none=True, by_alias=True) | {"model": model}
        )
        network = model_config(recipe, task).build().eval()
        task.check(network)
        return network

    return make


@pytest.fixture
def generation() -> Generation:
    return Generation(beam=1, max_length=8)


@pytest.fixture
def rows_of() -> Callable[[Task, Iterable[Example]], tuple[list[Any], dict[str, Any]]]:
    """What a task writes to the store, and what it counts."""

    def encode(task: Task, examples: Iterable[Example]) -> tuple[list[Any], dict[str, Any]]:
        notes: dict[str, Any] = {}
        return list(task.encode(examples, notes)), notes

    return encode
