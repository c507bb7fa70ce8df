"""The files that a comparison goes on by: its `plan.json`, and the `result.json` of each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sublayer.config.files import load_json

PLAN = "plan.json"
RESULT = "result.json"


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Cell(_Part):
    name: str
    recipe: dict[str, Any]


class _Plan(_Part):
    budget: str
    seeds: int
    split: str | None
    cells: dict[str, _Cell] = Field(min_length=1)


class _Score(_Part):
    value: float
    signature: str


class _Bucket(_Part):
    low: int
    high: int
    rows: int
    value: float


class _Evaluation(_Part):
    split: str
    metrics: dict[str, _Score]
    by_source_length: dict[str, list[_Bucket]]


class _Result(_Part):
    seed: int
    parameters: int
    training_flops_per_token: float
    steps: int
    minutes: float
    tokens_per_second: float
    evaluation: _Evaluation


def read_plan(root: Path) -> dict[str, Any]:
    """All cells' recipes and what they may cost, as the comparison in `root` was begun.

    Raises:
        ValueError: the file is damaged.
    """
    return _read(root / PLAN, _Plan, "the plan of a comparison; give another --out")


def read_result(run: Path) -> dict[str, Any]:
    """What a finished run cost and reached.

    Raises:
        ValueError: the file is damaged.
    """
    remedy = "remove it, and the same command measures its model again"
    return _read(run / RESULT, _Result, f"the result of a run; {remedy}")


def _read(file: Path, shape: type[_Part], what: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = load_json(file)
        shape.model_validate(value)
    except ValueError:
        raise ValueError(f"{file} is damaged, it is not {what}") from None
    return value
