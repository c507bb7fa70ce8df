"""Aligned plain text: line i of every file belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from sublayer.data.files import lines
from sublayer.data.pair import Pair


def read_lines(files: Sequence[str]) -> Iterator[Pair]:
    """Pairs of `files`, the source first and then one or more target files; empty lines are kept.

    Raises:
        ValueError: the files do not have equal numbers of lines.
    """
    readers = [lines(file) for file in files]
    for number, row in enumerate(zip_longest(*readers)):
        if None in row:
            counts = [
                f"{file} has {number + (text is not None) + sum(1 for _ in reader)}"
                for file, text, reader in zip(files, row, readers, strict=True)
            ]
            raise ValueError(
                f"aligned files must have as many lines as each other: {', '.join(counts)}"
            )
        yield Pair(row[0], row[1:])
