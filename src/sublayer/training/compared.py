"""What a comparison found: by cell, the mean and the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median_low, stdev
from typing import Any

from sublayer.config.comparison import Comparison
from sublayer.training.comparison_files import RESULT, read_result

SHOWN = 4
"""Metrics in a table; the JSON has all."""


@dataclass(frozen=True)
class Spread:
    """Values of several seeds: their mean, and the sample standard deviation, None of one."""

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value or more."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        told = f"{self.mean:.4g}"
        return told if self.spread is None else f"{told} ± {self.spread:.2g}"


@dataclass(frozen=True)
class Length:
    """A metric on sources of `low` to `high` tokens."""

    low: int
    high: int
    rows: int
    value: Spread


@dataclass(frozen=True)
class ComparedCell:
    """One cell: its finished runs in the order of seeds, and what others failed by."""

    name: str
    folder: Path
    changes: Mapping[str, Any]
    seeds: tuple[int, ...]
    runs: tuple[Mapping[str, Any], ...]
    """What `result.json` has."""
    errors: Mapping[int, str]
    """By seed."""

    def middle(self, key: str) -> int | float | None:
        """The median of a number of the runs, the lower of two; None if none has finished."""
        return median_low(run[key] for run in self.runs) if self.runs else None

    @property
    def metrics(self) -> dict[str, Spread]:
        """By name."""
        found = [run["evaluation"]["metrics"] for run in self.runs]
        return {name: Spread.of([m[name]["value"] for m in found]) for name in _names(found)}

    def by_length(self, metric: str) -> list[Length]:
        """A metric by length of the source; empty where it is not measured so."""
        found = [run["evaluation"]["by_source_length"].get(metric, []) for run in self.runs]
        if not found:
            return []
        return [
            Length(rows[0]["low"], rows[0]["high"], rows[0]["rows"], Spread.of(_values(rows)))
            for rows in zip(*found, strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it, with the values of each seed."""
        found = [run["evaluation"]["metrics"] for run in self.runs]
        lengths = list(self.runs[0]["evaluation"]["by_source_length"]) if self.runs else []
        return {
            "name": self.name,
            "folder": self.folder.name,
            "changes": dict(self.changes),
            "parameters": self.middle("parameters"),
            "training_flops_per_token": self.middle("training_flops_per_token"),
            "tokens_per_second": self.middle("tokens_per_second"),
            "steps": self.middle("steps"),
            "minutes": self.middle("minutes"),
            "metrics": {
                name: {
                    **asdict(value),
                    "values": [m[name]["value"] for m in found],
                    "signature": found[0][name]["signature"],
                }
                for name, value in self.metrics.items()
            },
            "by_source_length": {
                name: [
                    {"low": b.low, "high": b.high, "rows": b.rows, **asdict(b.value)}
                    for b in self.by_length(name)
                ]
                for name in lengths
            },
            "seeds": [run["seed"] for run in self.runs],
            "failed": [{"seed": seed, "error": error} for seed, error in self.errors.items()],
            "missing": [
                seed
                for seed in self.seeds
                if seed not in self.errors and seed not in {run["seed"] for run in self.runs}
            ],
        }


@dataclass(frozen=True)
class Compared:
    """All cells, in the order they were given in."""

    budget: str
    split: str | None
    cells: tuple[ComparedCell, ...]

    @property
    def metrics(self) -> list[str]:
        """Their names, those asked for first."""
        return _names([cell.metrics for cell in self.cells])

    @property
    def metric(self) -> str | None:
        """The one that pictures show; None where nothing but a loss is measured."""
        return next(iter(self.metrics), None)

    def as_json(self) -> dict[str, Any]:
        """`comparison.json`."""
        return {
            "budget": self.budget,
            "split": self.split,
            "metric": self.metric,
            "cells": [cell.as_json() for cell in self.cells],
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of the table."""
        shown = self.metrics[:SHOWN]
        headings = ["cell", *shown, "parameters", "tokens/s", "MFLOPs/token", "steps", "minutes"]
        return headings, [_row(cell, shown) for cell in self.cells]

    def length_rows(self) -> tuple[list[str], list[list[str]]]:
        """The first metric by source length, where it is measured so; no rows where it is not."""
        metric = self.metric
        if metric is None:
            return [], []
        lengths = {cell.name: cell.by_length(metric) for cell in self.cells if cell.runs}
        places = list(dict.fromkeys((b.low, b.high) for found in lengths.values() for b in found))
        rows = []
        for name, found in lengths.items():
            told = {(b.low, b.high): str(b.value) for b in found}
            rows.append([name, *(told.get(place, "") for place in places)])
        return ["cell", *(f"{low}-{high}" for low, high in places)], rows if places else []


def compared(comparison: Comparison, root: Path, errors: Mapping[tuple[str, int], str]) -> Compared:
    """What is finished in `root` by now; `errors` are by folder of a cell and seed.

    Raises:
        ValueError: a result is damaged.
    """
    cells = []
    for cell in comparison.cells:
        seeds = tuple(cell.recipe.seed + i for i in range(comparison.seeds))
        folders = [root / cell.folder / f"seed-{seed}" for seed in seeds]
        runs = tuple(read_result(run) for run in folders if (run / RESULT).exists())
        failed = {
            seed: errors[cell.folder, seed] for seed in seeds if (cell.folder, seed) in errors
        }
        folder = root / cell.folder
        cells.append(ComparedCell(cell.name, folder, cell.changes, seeds, runs, failed))
    splits = {run["evaluation"]["split"] for cell in cells for run in cell.runs}
    return Compared(str(comparison.budget), "/".join(sorted(splits)) or None, tuple(cells))


def markdown(found: Compared, pictures: Sequence[Path]) -> str:
    """`comparison.md`."""
    lines = ["# Comparison", "", _heading(found), "", *_table(*found.rows())]
    headings, rows = found.length_rows()
    if rows:
        lines += ["", f"## {found.metric} by tokens of the source", "", *_table(headings, rows)]
    failed = [(cell, seed, e) for cell in found.cells for seed, e in cell.errors.items()]
    if failed:
        lines += ["", "## Failed", ""]
        lines += [f"- {cell.name}, seed {seed}: {_line(error)}" for cell, seed, error in failed]
    for picture in pictures:
        lines += ["", f"![{picture.stem}]({picture.name})"]
    return "\n".join(lines) + "\n"


def _heading(found: Compared) -> str:
    seeds, total = len(found.cells[0].seeds), sum(len(cell.seeds) for cell in found.cells)
    done = sum(len(cell.runs) + len(cell.errors) for cell in found.cells)
    told = [f"Budget of each run: {found.budget}."]
    if found.split is not None:
        over = "One seed" if seeds == 1 else f"Mean ± standard deviation over {seeds} seeds"
        told.append(f"{over}, measured on {found.split} data.")
    if done < total:
        told.append(f"Not finished: {total - done} of {total} runs are still to come.")
    return " ".join(told)


def _row(cell: ComparedCell, shown: Sequence[str]) -> list[str]:
    metrics = cell.metrics
    told = [str(metrics[name]) if name in metrics else "" for name in shown]
    if not cell.runs and cell.errors and told:
        told[0] = "failed"
    elif cell.errors and told:
        told[0] += f" ({len(cell.errors)} failed)"
    flops = cell.middle("training_flops_per_token")
    numbers = [
        _number(cell.middle("parameters"), ",.0f"),
        _number(cell.middle("tokens_per_second"), ",.0f"),
        _number(flops and flops / 1e6, ",.3g"),
        _number(cell.middle("steps"), ",.0f"),
        _number(cell.middle("minutes"), ".2f"),
    ]
    return [cell.name, *told, *numbers]


def _number(value: int | float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _names(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for metrics in found for name in metrics))


def _values(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["value"] for row in rows]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return [f"| {' | '.join(map(_cell, row))} |" for row in (headings, rule, *rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())
