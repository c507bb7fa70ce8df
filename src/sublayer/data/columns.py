"""Pairs from rows that have named columns, with fields inside fields."""

from __future__ import annotations

from sublayer.config.data import HubData, ParquetData
from sublayer.config.registry import nearest
from sublayer.data.pair import Pair, make_pair


def pair_of(data: HubData | ParquetData, row: object, where: str) -> Pair:
    """The pair in the columns that `data` names.

    Raises:
        ValueError: there is no such column, or a value is not text.
    """
    columns = filter(None, (data.source, data.target, data.second))
    source, target, *second = (value(row, column, where) for column in columns)
    return make_pair(source, target, where, *second)


def value(row: object, column: str, where: str) -> object:
    """What stands in `column`, whose dots go into nested fields.

    Raises:
        ValueError: there is no such column.
    """
    for name in column.split("."):
        fields = row if isinstance(row, dict) else {}
        if name not in fields:
            raise ValueError(
                f"{where} has no '{name}' for the column '{column}'; {nearest(name, fields)}"
            )
        row = fields[name]
    return row
