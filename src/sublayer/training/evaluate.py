"""A finished run measured: metrics with their signatures, and by length of the input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sublayer.config.errors import explain
from sublayer.config.schema import Recipe
from sublayer.data.example import Example
from sublayer.data.source import Split, read, splits
from sublayer.surgery.quantize import is_quantized, restored
from sublayer.tasks import TASKS, Outcome
from sublayer.training.prepare import check_measures
from sublayer.training.run import load_predictor, open_run


@dataclass(frozen=True)
class Evaluation:
    """What `sublayer evaluate` says."""

    split: str
    outcome: Outcome
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The report, without the outputs."""
        o = self.outcome
        return {
            "split": self.split,
            "rows": o.rows,
            "setting": o.setting,
            "seconds": round(self.seconds, 2),
            "metrics": {
                n: {"value": s.value, "signature": s.signature} for n, s in o.metrics.items()
            },
            "by_source_length": {
                n: [
                    {"low": b.low, "high": b.high, "rows": b.rows, "value": b.value}
                    for b in buckets
                ]
                for n, buckets in o.buckets.items()
            },
            "confusion": {label: dict(said) for label, said in o.confusion.items()},
        }


def evaluate(
    folder: Path,
    split: Split = "test",
    files: Sequence[str] = (),
    *,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Use the model on a split of the run's data, and score what it says.

    `files` of the same kind may take the place of the split; `changes` are keys of `[generation]`
    given another value, and under "evaluation" keys of that section; `progress` hears how many rows
    are done, and of how many.

    Raises:
        ValueError: the folder is no finished run, or the data is not there or wrong.
    """
    _, recipe = open_run(folder)
    if files:
        recipe, split = _with_files(recipe, files), "test"
    keys = dict(changes or {})
    recipe = _measured_by(recipe, keys.pop("evaluation", {}))
    check_measures(recipe)
    examples = _examples(folder, recipe, split)
    predictor = load_predictor(folder, keys, device=device, inputs=len(examples))
    if is_quantized(folder):
        predictor.network = restored(predictor.network)  # a loss reads the head's own weights
    start, done = time.perf_counter(), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, len(examples))

    task = TASKS[recipe.objective.kind](recipe, predictor.vocabulary)
    outcome = task.score(predictor, examples, advance)
    return Evaluation(split, outcome, time.perf_counter() - start)


def examples_of(folder: Path, split: Split, files: Sequence[str] = ()) -> list[Example]:
    """The rows of a split of a run's data, or of `files` in its place.

    Raises:
        ValueError: the folder is no run, or the data is not there or wrong.
    """
    _, recipe = open_run(folder)
    if files:
        recipe, split = _with_files(recipe, files), "test"
    return _examples(folder, recipe, split)


def _measured_by(recipe: Recipe, given: Any) -> Recipe:
    """The recipe with other values for some keys of `[evaluation]`."""
    kind, own = type(recipe.evaluation), recipe.evaluation.model_dump()
    try:
        evaluation = kind.model_validate(own | given if isinstance(given, dict) else given)
    except ValidationError as error:
        raise explain(error, kind, lambda key: "evaluation") from None
    return recipe.model_copy(update={"evaluation": evaluation})


def _examples(folder: Path, recipe: Recipe, split: Split) -> list[Example]:
    """The rows of a split; none where vectors of words are measured by files alone."""
    if TASKS[recipe.objective.kind].has_words and split not in splits(recipe.data):
        if recipe.evaluation.similarity or recipe.evaluation.analogies:
            return []
        raise ValueError(
            f"{folder} has no {split} data; measure its vectors by files: "
            "evaluation.similarity=FILE, evaluation.analogies=FILE"
        )
    examples = list(read(recipe.data, split))
    if not examples:
        raise ValueError(f"the {split} data is empty; there is nothing to evaluate")
    return examples


def _with_files(recipe: Recipe, files: Sequence[str]) -> Recipe:
    keys = recipe.model_dump(mode="json", exclude_none=True, by_alias=True)
    keys["data"].pop("splits", None)
    if "test" not in type(recipe.data).model_fields:
        raise ValueError(
            f"a run on {recipe.data.kind} data has no files to put others in place of; use --split"
        )
    keys["data"]["test"] = (
        list(files) if recipe.data.kind == "lines" or len(files) > 1 else files[0]
    )
    try:
        return Recipe.model_validate(keys)
    except ValidationError as error:
        raise explain(error, Recipe, lambda key: "--data") from None
