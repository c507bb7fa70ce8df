"""Pairs in columns: tab-separated values and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sublayer.config.registry import nearest
from sublayer.data.files import lines
from sublayer.data.pair import Pair, make_pair


def read_tsv(file: str, source: str | int, target: str | int) -> Iterator[Pair]:
    """Pairs from two columns, by name (the first line is then the header) or by number from 0.

    A field is what stands between tabs; quotes mean themselves. Empty lines are left out.

    Raises:
        ValueError: there is no such column, or a line has too few fields.
    """
    columns: list[int] = []
    for number, line in enumerate(lines(file), 1):
        if not line:
            continue
        fields = line.split("\t")
        if not columns:
            columns = [_column(file, fields, name) for name in (source, target)]
            if isinstance(source, str) or isinstance(target, str):
                continue
        if max(columns) >= len(fields):
            raise ValueError(
                f"{file}:{number} has no field {max(columns)}, counted from 0, "
                f"but {len(fields)} in all: put one tab between fields"
            )
        yield Pair(fields[columns[0]], (fields[columns[1]],))


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


def read_jsonl(file: str, source: str, target: str) -> Iterator[Pair]:
    """Pairs from two keys of the object on each line; the target may be a list of texts.

    Empty lines are left out.

    Raises:
        ValueError: a line is not an object with both keys, or a value is not text.
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
        for key in (source, target):
            if key not in row:
                raise ValueError(f"{where} has no key '{key}'; {nearest(key, row)}")
        yield make_pair(row[source], row[target], where)
