"""Data sets of the Hugging Face hub, or folders in its formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sublayer.config.registry import nearest
from sublayer.config.schema import HubData
from sublayer.data.optional import needs
from sublayer.data.pair import Pair, make_pair


def read_hub(data: HubData, split: str) -> Iterator[Pair]:
    """The rows of a split, kept on disk by the package datasets; a target may be a list of texts.

    Raises:
        ValueError: there is no such data set, split or column, a value is not text, or the package
            datasets is missing.
    """
    for number, row in enumerate(_rows(data, split)):
        where = f"row {number} of '{data.name}', split '{split}'"
        yield make_pair(_value(row, data.source, where), _value(row, data.target, where), where)


def _rows(data: HubData, split: str) -> Any:
    with needs("datasets", "data"):
        import datasets
    try:
        if (Path(data.name) / "dataset_dict.json").is_file():  # what `save_to_disk` wrote
            return datasets.load_from_disk(data.name)[split]
        return datasets.load_dataset(data.name, data.config, split=split)
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"split '{split}' of the data set '{data.name}' cannot be loaded: {error}"
        ) from error


def _value(row: Any, column: str, where: str) -> object:
    """What stands in `column`, whose dots go into nested fields."""
    for name in column.split("."):
        fields = row if isinstance(row, dict) else {}
        if name not in fields:
            raise ValueError(
                f"{where} has no '{name}' for the column '{column}'; {nearest(name, fields)}"
            )
        row = fields[name]
    return row
