"""Pairs in columns: tab-separated values, comma-separated values and JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sublayer.config.registry import nearest
from sublayer.data.files import lines
from sublayer.data.pair import Pair, make_pair


def read_tsv(
    file: str, source: str | int, target: str | int, second: str | int | None = None
) -> Iterator[Pair]:
    """Pairs from columns, by name (the first line is then the header) or by number from 0.

    A field is what stands between tabs; quotes mean themselves. Empty lines are left out.

    Raises:
        ValueError: there is no such column, or a line has too few fields.
    """
    rows = (
        (number, line.split("\t") if line else []) for number, line in enumerate(lines(file), 1)
    )
    return _pairs(file, rows, (source, target, second), "put one tab between fields")


def read_csv(
    file: str, source: str | int, target: str | int, second: str | int | None = None
) -> Iterator[Pair]:
    """As `read_tsv`, with commas, and quotes around fields that hold commas or line ends.

    Raises:
        ValueError: as `read_tsv`, or a quote stands where none can.
    """
    return _pairs(file, _csv_rows(file), (source, target, second), "quote fields with commas")


def _csv_rows(file: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((f"{line}\n" for line in lines(file)), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(
            f"{file}:{reader.line_num} is not CSV ({error}): "
            'put a field with quotes into quotes, and write each of its own twice: ""'
        ) from error


def _pairs(
    file: str,
    rows: Iterable[tuple[int, list[str]]],
    wanted: tuple[str | int, str | int, str | int | None],
    remedy: str,
) -> Iterator[Pair]:
    """Pairs from numbered rows of fields; a target that is a JSON list of texts is several."""
    names = [name for name in wanted if name is not None]
    columns: list[int] = []
    for number, fields in rows:
        if not fields:
            continue
        if not columns:
            columns = [_column(file, fields, name) for name in names]
            if any(isinstance(name, str) for name in names):
                continue
        if max(columns) >= len(fields):
            raise ValueError(
                f"{file}:{number} has no field {max(columns)}, counted from 0, "
                f"but {len(fields)} in all: {remedy}"
            )
        source, target, *second = (fields[column] for column in columns)
        yield Pair(source, _targets(target), *second)


def _targets(field: str) -> tuple[str, ...]:
    """A field's texts: several if it is a JSON list of texts, else the field as it stands."""
    if field.startswith('["') and field.endswith('"]'):
        try:
            texts = json.loads(field)
        except (ValueError, RecursionError):
            return (field,)
        if all(isinstance(text, str) for text in texts):
            return tuple(texts)
    return (field,)


def _column(file: str, header: list[str], name: str | int) -> int:
    if isinstance(name, int):
        if not 0 <= name < len(header):
            raise ValueError(
                f"{file} has no column {name}: give a name, or a number from 0 to {len(header) - 1}"
            )
        return name
    if name not in header:
        raise ValueError(
            f"the first line of {file} names no column '{name}'; {nearest(name, header)}"
        )
    return header.index(name)


def read_jsonl(file: str, source: str, target: str, second: str | None = None) -> Iterator[Pair]:
    """Pairs from keys of the object on each line; the target may be a list of texts.

    Empty lines are left out.

    Raises:
        ValueError: a line is not an object with these keys, or a value is not text.
    """
    keys = [source, target] if second is None else [source, target, second]
    for where, row in objects(file):
        for key in keys:
            if key not in row:
                raise ValueError(f"{where} has no key '{key}'; {nearest(key, row)}")
        values = [row[key] for key in keys]
        yield make_pair(values[0], values[1], where, *values[2:])


def objects(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the content of each JSON object, one a line; empty lines are left out.

    Raises:
        ValueError: a line is no JSON object.
    """
    for number, line in enumerate(lines(file), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{where} is not JSON ({error}): write one object on each line"
            ) from error
        if not isinstance(row, dict):
            raise ValueError(
                f"{where} is a JSON {type(row).__name__}: write one object on each line"
            )
        yield where, row
