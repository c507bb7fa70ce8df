"""Plain text as documents: files, paragraphs or lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from sublayer.config.data import Splits, TextData
from sublayer.data.example import Document, Group
from sublayer.data.files import found, whole

SUFFIXES = ("*.txt", "*.txt.gz")


def read_text(data: TextData, named: str | Sequence[str]) -> Iterator[Group]:
    """The documents of the files, folders and globs `named`, in order.

    The key of a whole file is its name, below the folder that was searched through; that of a
    paragraph or line is its text, so that none stands in two splits.

    Raises:
        ValueError: there is no such file, it is no UTF-8 text, or a folder has no `.txt` file.
    """
    for file, name in found(named, SUFFIXES):
        for document in _units(whole(file), name, data.unit):
            key = name if data.unit == "file" else document.text
            yield key.encode(), (document,)


def read_part(data: TextData, shares: Splits, split: str) -> Iterator[Document]:
    """The documents of one split, taken by the place in all text, laid end to end.

    The first `shares.train` per cent of all characters are train, then come valid and test; a
    number of characters that is not whole is rounded down.

    Raises:
        ValueError: as `read_text`.
    """
    files = list(found(data.train, SUFFIXES))
    total = sum(len(whole(file)) for file, _ in files)
    percent = shares.model_dump()
    edges = [total * share // 100 for share in accumulate(percent.values(), initial=0)]
    begin, end = dict(zip(percent, pairwise(edges), strict=True))[split]
    place = 0
    for file, name in files:
        text = whole(file)
        part = text[max(begin - place, 0) : max(end - place, 0)]
        place += len(text)
        if part:
            yield from _units(part, name, data.unit)


def _units(text: str, name: str, unit: str) -> Iterator[Document]:
    if unit == "file":
        yield Document(text, name)
        return
    pieces = text.split("\n") if unit == "line" else re.split(r"\n(?:[ \t]*\n)+", text)
    for number, piece in enumerate(pieces, 1):
        if piece.strip():
            yield Document(piece.strip("\n"), f"{name}, {unit} {number}")
