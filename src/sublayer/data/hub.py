"""Data sets of the Hugging Face hub, or folders in its formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sublayer.config.data import HubData
from sublayer.data.columns import pair_of
from sublayer.data.optional import needs
from sublayer.data.pair import Pair


def read_hub(data: HubData, split: str) -> Iterator[Pair]:
    """The rows of a split, kept on disk by the package datasets; a target may be a list of texts.

    Labels that the data set has names for are given by their names.

    Raises:
        ValueError: there is no such data set, split or column, a value is not text, or the package
            datasets is missing.
    """
    for number, row in enumerate(_rows(data, split)):
        yield pair_of(data, row, f"row {number} of '{data.name}', split '{split}'")


def _rows(data: HubData, split: str) -> Iterator[dict[str, Any]]:
    with needs("datasets", "data"):
        import datasets
    try:
        if (Path(data.name) / "dataset_dict.json").is_file():  # what `save_to_disk` wrote
            rows = datasets.load_from_disk(data.name)[split]
        else:
            rows = datasets.load_dataset(data.name, data.config, split=split)
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"split '{split}' of the data set '{data.name}' cannot be loaded: {error}"
        ) from error
    label = rows.features.get(data.target)
    for row in rows:
        if isinstance(label, datasets.ClassLabel):  # of which -1 is none
            known = row[data.target] in range(label.num_classes)
            row[data.target] = label.int2str(row[data.target]) if known else None
        yield row
