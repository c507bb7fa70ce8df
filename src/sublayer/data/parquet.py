"""Parquet: tables stored by column, read a part of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sublayer.config.data import ParquetData
from sublayer.config.registry import nearest
from sublayer.data.columns import pair_of
from sublayer.data.files import found, opened
from sublayer.data.optional import needs
from sublayer.data.pair import Pair

ROWS = 1024
"""Rows that are held in memory."""


def read_parquet(data: ParquetData, named: str | Sequence[str]) -> Iterator[Pair]:
    """The rows of Parquet files, folders of them or globs; a target may be a list of texts.

    Raises:
        ValueError: there is no such file or column, a file is no Parquet, a value is not text, or
            the package pyarrow is missing.
    """
    with needs("pyarrow", "data"):
        import pyarrow
        import pyarrow.parquet
    columns = [name for name in (data.source, data.target, data.second) if name is not None]
    for path, _ in found(named, ("*.parquet",)):
        with opened(path):  # which tells what is wrong with a path
            pass
        number = 0
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
                for column in columns:
                    name = column.partition(".")[0]
                    if name not in names:
                        raise ValueError(f"{path} has no column '{name}'; {nearest(name, names)}")
                for batch in file.iter_batches(
                    ROWS, columns=[c.partition(".")[0] for c in columns]
                ):
                    for row in batch.to_pylist():
                        yield pair_of(data, row, f"row {number} of {path}")
                        number += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is no whole Parquet file ({error}): fetch it again"
            ) from error
