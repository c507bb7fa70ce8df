"""A comparison, written down: a recipe, how it varies, and what every variant may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationError

from sublayer.config.errors import explain
from sublayer.config.files import lay_over, make_recipe, read_toml, read_value, split_override
from sublayer.config.schema import Recipe
from sublayer.config.section import Section

MOST = 1000
"""Cells: a grid of more is a slip, and would not end."""
LONGEST = 200
"""Bytes of a folder's name; file systems take 255, some less."""
LENGTHS = ("training.steps", "training.minutes", "training.epochs")
Table = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """What every run may cost."""

    amount: float
    unit: Literal["minutes", "steps", "flops"]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read "10 minutes", "500 steps" or "1e15 FLOPs".

        Raises:
            ValueError: it is none of these.
        """
        number, unit = r"[\d.]+(?:e[+-]?\d+)?", "min|minute|step|flop"
        match = re.fullmatch(rf"\s*({number})\s*({unit})s?\s*", text.lower())
        try:
            amount = float(match[1]) if match else 0.0
        except ValueError:
            amount = 0.0
        if not match or amount <= 0 or math.isinf(amount):
            raise ValueError(
                f"'{text}' is no budget; write for example '10 minutes', '500 steps', '1e15 FLOPs'"
            )
        match match[2]:
            case "step":
                if amount % 1:
                    raise ValueError(f"'{text}' is no budget: steps are a whole number")
                return cls(amount, "steps")
            case "flop":
                return cls(amount, "flops")
        return cls(amount, "minutes")

    def __str__(self) -> str:
        unit = {"minutes": "minutes", "steps": "steps", "flops": "FLOPs"}[self.unit]
        return f"{self.amount:.15g} {unit}"


class Quick(Section):
    """What `--quick` changes."""

    budget: str
    seeds: PositiveInt = 1
    changes: Table = Field(default={})
    """Keys of the recipe given another value, over those of all cells."""


class CompareSection(Section):
    """`[compare]` in a recipe: how it varies."""

    base: str | None = None
    """A recipe that this one is laid over; relative to this one's folder."""
    budget: str | None = None
    """Of each run: "10 minutes", "500 steps" or "1e15 FLOPs"."""
    seeds: PositiveInt = 3
    split: Literal["valid", "test"] | None = None
    """What is measured on; None: test data, or validation data if there is no other."""
    grid: Table = Field(default={})
    """Keys of the recipe with lists of values; every combination is a cell."""
    cells: list[Table] = Field(default=[])
    """Keys of the recipe that change together, under a `name`; with a grid, each times the grid."""
    quick: Quick | None = None


@dataclass(frozen=True)
class Cell:
    """One variant of the recipe."""

    name: str
    changes: Mapping[str, Any]
    """Dotted keys and values that make it what it is."""
    recipe: Recipe
    """With a length that is not the budget yet."""

    @property
    def folder(self) -> str:
        """The name as that of a folder; of a long one the beginning, and a hash of all."""
        plain = re.sub(r"[^\w.=+-]+", "-", self.name).strip("-.")
        if len(plain.encode()) <= LONGEST:
            return plain
        end = sha256(plain.encode()).hexdigest()[:12]
        return f"{plain.encode()[: LONGEST - 13].decode(errors='ignore')}-{end}"


@dataclass(frozen=True)
class Comparison:
    """Cells that are trained under one budget with several seeds."""

    cells: tuple[Cell, ...]
    budget: Budget
    seeds: int
    split: Literal["valid", "test"] | None


def read_comparison(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    budget: Budget | None = None,
    seeds: int | None = None,
    quick: bool = False,
) -> Comparison:
    """The comparison that a recipe and `overrides` are.

    An override of one value is a change to every cell; of several, with commas between, a part of
    the grid. What is given beside the file goes before what it says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it is wrong, or in a cell, which is named.
    """
    table, section = _read(path)
    shorter = section.quick
    if quick and shorter is None:
        raise ValueError(
            f"{path} has no [compare.quick]; give --minutes or --budget in place of --quick"
        )
    said = shorter.budget if quick and shorter else section.budget
    if budget is None and said is None:
        raise ValueError(f"{path} has no budget; give --minutes 10 or --budget '500 steps'")
    grid = dict(_leaves(section.grid))
    fixed = dict(_leaves(shorter.changes)) if quick and shorter else {}
    for override in overrides:
        key, values = _values(override)
        (fixed if len(values) > 1 else grid).pop(key, None)
        if len(values) > 1:
            grid[key] = values
        else:
            fixed[key] = values[0]
    _check_grid(grid, path)
    for changes in (fixed, *section.cells, *({key: v} for key in grid for v in grid[key])):
        _refuse_lengths(changes)
    cells = tuple(_cells(path, table, section, grid, fixed))
    _check_names(cells)
    return Comparison(
        cells,
        budget or Budget.parse(str(said)),
        seeds or (shorter.seeds if quick and shorter else section.seeds),
        section.split,
    )


def _read(path: Path) -> tuple[Table, CompareSection]:
    """The recipe's table without `[compare]`, laid over its base, and what `[compare]` says."""
    table = read_toml(path)
    try:
        section = CompareSection.model_validate(table.pop("compare", {}))
    except ValidationError as error:
        raise explain(error, CompareSection, lambda key: f"{path}: [compare]") from None
    if section.base is not None:
        whole = read_toml(path.parent / section.base)
        if "compare" in whole:
            raise ValueError(f"{path}: the base {section.base} is a comparison; name a recipe")
        for key, value in _leaves(table):
            lay_over(whole, key, value)
        table = whole
    return table, section


def _leaves(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a table of tables."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _check_grid(grid: Mapping[str, Any], path: Path) -> None:
    """That every key has values, and none is a seed, which would make each a cell of its own."""
    if "seed" in grid:
        raise ValueError("seed is no key to compare by; --seeds 3 varies it within each cell")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(
                f"{path}: compare.grid.{key} is {values!r}; give a list with one value or more"
            )


def _refuse_lengths(changes: Mapping[str, Any]) -> None:
    for key, _ in _leaves(changes):
        if key in LENGTHS:
            raise ValueError(
                f"{key} does nothing in a comparison: the budget takes its place; leave it out"
            )


def _cells(
    path: Path,
    table: Table,
    section: CompareSection,
    grid: Mapping[str, Sequence[Any]],
    fixed: Mapping[str, Any],
) -> Iterator[Cell]:
    """Every cell of the file times every combination of the grid."""
    total = math.prod(len(values) for values in grid.values()) * max(1, len(section.cells))
    if total > MOST:
        raise ValueError(f"{total:,} cells are more than {MOST:,}; give fewer values")
    for number, own in enumerate(section.cells or [{}]):
        name = own.get("name")
        if section.cells and (not isinstance(name, str) or not name.strip()):
            raise ValueError(f"{path}: cell {number + 1} of [compare] has no name; give it one")
        rows = {key: value for key, value in _leaves(own) if key != "name"}
        for values in product(*grid.values()):
            changes = rows | dict(zip(grid, values, strict=True))
            parts = [name] if isinstance(name, str) else []
            parts += [
                f"{_short(key, grid)}={_text(value)}"
                for key, value in zip(grid, values, strict=True)
            ]
            yield _cell(path, " ".join(parts) or path.stem, table, changes, fixed)


def _check_names(cells: Sequence[Cell]) -> None:
    """That every cell has a folder of its own."""
    seen = set()
    for cell in cells:
        if not cell.folder:
            raise ValueError(
                f"cell '{cell.name}' has nothing in its name that a folder could be named by; "
                "give it a name with letters or digits"
            )
        if cell.folder in seen:
            raise ValueError(
                f"cell '{cell.name}' is there twice; give each value and each name once"
            )
        seen.add(cell.folder)


def _cell(
    path: Path, name: str, table: Table, changes: Mapping[str, Any], fixed: Mapping[str, Any]
) -> Cell:
    whole = deepcopy(table)
    for key, value in {**changes, **fixed}.items():
        lay_over(whole, key, value)
    if isinstance(training := whole.setdefault("training", {}), dict):
        training.setdefault("steps", 1)  # the budget takes its place
    written = {key: f"{key}={_text(value)}" for key, value in {**changes, **fixed}.items()}
    return Cell(name, changes, make_recipe(whole, f"cell '{name}': {path}", written))


def _short(key: str, grid: Mapping[str, Any]) -> str:
    """The last part of a key, where no other key of the grid ends alike."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in grid) > 1 else last


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- lists of values on the command line ---------------------------------------------------------


def _values(override: str) -> tuple[str, list[Any]]:
    """The key and the values of `key=a,b`.

    Commas inside of quotes, brackets and braces part nothing: `key=[1,2],[3,4]` are two lists.
    """
    key, text = split_override(override)
    pieces = [piece.strip() for piece in _parted(text)]
    if not all(pieces):
        raise ValueError(f"override {override!r} has an empty value; write key=a,b")
    return key, [read_value(piece) for piece in pieces]


def _parted(text: str) -> Iterator[str]:
    begin, depth, quote = 0, 0, ""
    for i, letter in enumerate(text):
        if quote:
            is_escaped = quote == '"' and text[:i].endswith("\\")
            quote = "" if letter == quote and not is_escaped else quote
        elif letter in "\"'" and text[:i].rstrip()[-1:] in ",[{=":
            quote = letter  # only where a value may begin: there is one in don't
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[begin:i]
            begin = i + 1
    yield text[begin:]
