"""How often words stand near one another, counted in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MERGED = 2**16
"""Entries of each run on the disk that are held while runs are merged, in total at least."""

Keys = NDArray[np.int64]
Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Entries:
    """Sparse counts: `around` stands near `words` so often, each near place by 1 / distance."""

    words: NDArray[np.int64]
    around: NDArray[np.int64]
    counts: NDArray[np.float64]


@final
@dataclass(frozen=True)
class Counted:
    """How often words stand together: `words`, `around` (int64) and `counts` (float32), `n`."""

    words: Tensor
    around: Tensor
    counts: Tensor

    @property
    def inputs(self) -> Tensor:
        """What the network is called with, `1 n`."""
        return self.words.unsqueeze(0)

    @property
    def tokens(self) -> int:
        """Entries."""
        return len(self.words)

    @property
    def read(self) -> int:
        """Entries."""
        return len(self.words)

    def to(self, device: torch.device | str) -> Counted:
        """The same batch on `device`."""
        return Counted(self.words.to(device), self.around.to(device), self.counts.to(device))


@final
class Cooccurrences:
    """Counts over texts, of words below `vocab_size` up to `window` places apart.

    A word that stands k places before another counts 1/k (Pennington et al. 2014, 4.2): for both
    of them if `symmetric`, else as being around the later one. At most about `memory` bytes are
    held: sums that take more go to `folder` as sorted runs, which are merged at the end.
    """

    def __init__(
        self, vocab_size: int, window: int, memory: int, folder: Path, *, symmetric: bool = True
    ) -> None:
        self.vocab_size, self.window, self.symmetric = vocab_size, window, symmetric
        self.folder = folder
        # of 16 bytes an entry; sorting takes as much again
        self.most = max(memory // 32, 1)
        self._runs: list[Path] = []
        self._new: list[tuple[Keys, Sums]] = []
        self._held = 0

    def add(self, texts: Iterable[Sequence[int] | NDArray[np.integer]]) -> None:
        """Count the words of texts; none is near one of another text."""
        rows = [np.asarray(text, np.int64) for text in texts]
        if not rows:
            return
        ids = np.concatenate(rows)
        number = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        step = max(self.most // (2 * self.window), 1)
        for begin in range(0, len(ids), step):
            end = begin + step + self.window  # pairs whose first word is in the step
            self._count(ids[begin:end], number[begin:end], step)
            if self._held > self.most:
                self._compact()

    def _count(self, ids: NDArray[np.int64], number: NDArray[np.int64], step: int) -> None:
        for k in range(1, min(self.window, len(ids) - 1) + 1):
            earlier, later = ids[:-k][:step], ids[k:][:step]
            inside = number[:-k][:step] == number[k:][:step]
            earlier, later = earlier[inside], later[inside]
            if self.symmetric:  # both ways are the same number, so it is kept once
                earlier, later = np.minimum(earlier, later), np.maximum(earlier, later)
            keys = later * self.vocab_size + earlier
            self._new.append((keys, np.full(len(keys), 1 / k)))
            self._held += len(keys)

    def _compact(self) -> None:
        """Add up what is held; where that is still much, write it as a run."""
        keys, sums = _summed(self._new)
        self._new, self._held = [(keys, sums)], len(keys)
        if 2 * len(keys) > self.most:
            self._write(keys, sums)

    def _write(self, keys: Keys, sums: Sums) -> None:
        file = self.folder / f"{len(self._runs)}.run"
        run = np.empty(len(keys), RUN)
        run["key"], run["sum"] = keys, sums
        run.tofile(file)
        self._runs.append(file)
        self._new, self._held = [], 0

    def entries(self) -> Iterator[Entries]:
        """All that was counted, in pieces; each two words once."""
        for keys, sums in self._merged():
            later, earlier = keys // self.vocab_size, keys % self.vocab_size
            if self.symmetric:
                same = earlier == later  # both ways at once
                sums = np.where(same, 2 * sums, sums)
                yield Entries(later, earlier, sums)
                yield Entries(earlier[~same], later[~same], sums[~same])
            else:
                yield Entries(later, earlier, sums)

    def _merged(self) -> Iterator[tuple[Keys, Sums]]:
        keys, sums = _summed(self._new)
        if not self._runs:
            if len(keys):
                yield keys, sums
            return
        self._write(keys, sums)
        yield from merge(
            [np.memmap(file, RUN, "r") for file in self._runs if file.stat().st_size],
            max(min(self.most, MERGED * len(self._runs)) // len(self._runs), 1),
        )


RUN = np.dtype([("key", "<i8"), ("sum", "<f8")])
"""An entry on the disk."""


def merge(runs: Sequence[NDArray[Any]], size: int) -> Iterator[tuple[Keys, Sums]]:
    """Sorted runs as one, sums of equal keys added, from `size` entries of each run at a time."""
    places = [0] * len(runs)
    while any(place < len(run) for place, run in zip(places, runs, strict=True)):
        pieces = [
            np.asarray(run[place : place + size]) for place, run in zip(places, runs, strict=True)
        ]
        # up to the smallest of the last keys no run has more than what is here
        ends = [
            piece["key"][-1]
            for piece, place, run in zip(pieces, places, runs, strict=True)
            if place + len(piece) < len(run)
        ]
        taken = [
            np.searchsorted(piece["key"], min(ends), side="right") if ends else len(piece)
            for piece in pieces
        ]
        places = [place + int(n) for place, n in zip(places, taken, strict=True)]
        yield _summed(
            [(piece["key"][:n], piece["sum"][:n]) for piece, n in zip(pieces, taken, strict=True)]
        )


def _summed(parts: Sequence[tuple[Keys, Sums]]) -> tuple[Keys, Sums]:
    """Keys in order, each once, with the sum of its numbers."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    keys, sums = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    if not len(keys):
        return keys.astype(np.int64), sums.astype(np.float64)
    order = np.argsort(keys, kind="stable")
    keys, sums = keys[order], sums[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(sums, first)


def shuffled(
    pieces: Iterable[Entries], size: int, memory: int, folder: Path, random: np.random.Generator
) -> Iterator[Entries]:
    """The same entries in random order, `size` at a time, in about `memory` bytes.

    They go at random to files in `folder` that fit the memory, each of which is then put in random
    order.
    """
    file, total, most = folder / "entries", 0, max(memory // 64, size)
    with file.open("wb") as whole_file:
        for piece in pieces:
            rows = np.stack([piece.words, piece.around, piece.counts.view(np.int64)], 1)
            whole_file.write(rows.tobytes())
            total += len(rows)
    if not total:
        return
    whole = np.memmap(file, np.int64, "r", shape=(total, 3))
    parts = -(-total // most)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{i}.part").open("w+b")) for i in range(parts)]
        for begin in range(0, total, most):
            rows = np.asarray(whole[begin : begin + most])
            to = random.integers(parts, size=len(rows))
            for i, part in enumerate(files):
                part.write(rows[to == i].tobytes())
        left = np.empty((0, 3), np.int64)
        for part in files:
            part.seek(0)
            rows = np.frombuffer(part.read(), np.int64).reshape(-1, 3)
            rows = np.concatenate([left, rows[random.permutation(len(rows))]])
            in_blocks = len(rows) // size * size
            for begin in range(0, in_blocks, size):
                yield _entries(rows[begin : begin + size])
            left = rows[in_blocks:]
        if len(left):
            yield _entries(left)


def _entries(rows: NDArray[np.int64]) -> Entries:
    return Entries(rows[:, 0], rows[:, 1], np.ascontiguousarray(rows[:, 2]).view(np.float64))
