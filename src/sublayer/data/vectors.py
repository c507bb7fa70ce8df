"""Word vectors as text: one word a line with its numbers, as word2vec and GloVe write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sublayer.config.files import atomic_write
from sublayer.data.files import lines


def read_vectors(path: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """The words of a file, plain or gzip, and their vectors, `v m`.

    A first line of two whole numbers says how many there are and how wide (word2vec); without it
    the first line is of a word (GloVe). A word may hold spaces; of one that comes again the first
    vector is kept.

    Raises:
        ValueError: there is no such file, or a line is no word with as many finite numbers as the
            others; it is named.
    """
    path = str(path)
    rows: Iterator[tuple[int, str]] = enumerate(lines(path), 1)
    number, first = next(rows)
    head = first.split()
    told: int | None = None
    if len(head) == 2 and all(part.isdecimal() for part in head):
        told, width = int(head[0]), int(head[1])
    else:
        width = len(head) - 1
        rows = chain([(number, first)], rows)
    if width < 1:
        raise ValueError(f"{path}:1 is no word with its vector: give a file of word vectors")
    found: dict[str, NDArray[np.float32]] = {}
    count = 0
    for count, (word, vector) in enumerate(_parsed(path, rows, width), 1):  # noqa: B007
        found.setdefault(word, vector)
    if told is not None and count != told:
        raise ValueError(
            f"{path} has {count} vectors, its first line tells of {told}: copy the file again"
        )
    table = np.stack([*found.values()]) if found else np.empty((0, width), np.float32)
    return [*found], table


def _parsed(
    path: str, rows: Iterator[tuple[int, str]], width: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for number, line in rows:
        word, *numbers = line.rstrip(" \t").replace("\t", " ").rsplit(" ", width)
        if len(numbers) != width:
            raise ValueError(
                f"{path}:{number} has {len(numbers)} numbers behind the word, not {width}: "
                "copy the file again"
            )
        try:
            with np.errstate(over="ignore"):  # told below
                vector = np.array(numbers, np.float32)
        except ValueError:
            vector = np.full(width, np.nan, np.float32)
        if not np.isfinite(vector).all():
            raise ValueError(
                f"{path}:{number} is no word with {width} finite numbers: copy the file again"
            )
        yield word, vector


def write_vectors(path: str | Path, words: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Write words and their vectors, `v m`, as word2vec does: first how many there are, how wide.

    Numbers have the fewest digits that give the same float32 again.

    Raises:
        ValueError: a word is empty or has white space, so that it could not be read again.
        OSError: the file cannot be written.
    """
    for word in words:
        if not word or word.split() != [word]:
            raise ValueError(f"the word {word!r} is empty or has white space: leave it out")
    rows = (
        f"{word} {' '.join(vector.astype(str))}\n"
        for word, vector in zip(words, vectors.astype(np.float32), strict=True)
    )
    atomic_write(Path(path), "".join([f"{len(words)} {vectors.shape[1]}\n", *rows]))
