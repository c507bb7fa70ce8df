"""Tokenized pairs on disk, memory-mapped, so that their number costs no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
from numpy.typing import NDArray

from sublayer.config.files import atomic_folder, dump_json, load_json
from sublayer.data.batch import Row

CHUNK = 20_000
"""Pairs that are tokenized and written at a time."""

Ids = Sequence[int] | NDArray[np.integer]
Pair = tuple[Ids, Ids]

OFFSET = np.dtype("<i8")


@final
class Store:
    """Pairs of ids, by number; they stay on disk, and the system caches what was read.

    The folder holds

    source.ids, target.ids  the ids of all pairs, one after another: uint16 if they fit, else uint32
    offsets                 where each pair begins in the two, and the ends: (pairs + 1) x 2 int64
    meta.json               numbers of pairs and tokens, the width of an id, what was left out
    """

    def __init__(self, folder: Path) -> None:
        self.meta: Mapping[str, Any] = load_json(folder / "meta.json")
        width = np.dtype(f"<u{self.meta['bytes_per_id']}")
        self._offsets = _mapped(folder / "offsets", OFFSET).reshape(-1, 2)
        self._source = _mapped(folder / "source.ids", width)
        self._target = _mapped(folder / "target.ids", width)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open what `write` wrote.

        Raises:
            ValueError: the folder is missing or damaged.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"there are no tokenized pairs in {folder}: run again to make them")
        try:
            store = cls(folder)
            pairs, *ends = (store.meta[key] for key in ("pairs", "source_tokens", "target_tokens"))
            whole = len(store) == pairs and ends == [len(store._source), len(store._target)]
            whole = whole and store._offsets[-1].tolist() == ends
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _damaged(folder) from error
        if not whole:
            raise _damaged(folder)
        return store

    @classmethod
    def write(
        cls,
        folder: str | Path,
        pairs: Iterable[Pair],
        vocab_size: int = 2**16,
        notes: Mapping[str, int | float] | None = None,
    ) -> Store:
        """Write `pairs` of ids below `vocab_size`, and open them.

        What `notes` holds when all are written goes into meta.json. Whatever stops it, `folder` is
        afterwards as it was before, or complete.
        """
        with atomic_folder(Path(folder)) as unfinished:
            meta = _write(unfinished, iter(pairs), 2 if vocab_size <= 2**16 else 4)
            dump_json({**meta, **(notes or {})}, unfinished / "meta.json")
        return cls.open(folder)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def lengths(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of source and target ids of the pairs `indices`: m -> m 2."""
        lengths: NDArray[np.int64] = self._offsets[indices + 1] - self._offsets[indices]
        return lengths

    @property
    def ids(self) -> int:
        """Number of source ids of all pairs together."""
        return len(self._source)

    def stream(self, begin: int, end: int) -> NDArray[np.integer]:
        """Source ids laid end to end, from place `begin` up to `end`, as a view of the file."""
        return self._source[begin:end]

    def rows(self, indices: NDArray[np.int64]) -> list[Row]:
        """Source and target ids of the pairs `indices`, as views of the files."""
        ends = self._offsets[indices + 1].tolist()
        return [
            (self._source[begin[0] : end[0]], self._target[begin[1] : end[1]])
            for begin, end in zip(self._offsets[indices].tolist(), ends, strict=True)
        ]


def _write(folder: Path, pairs: Iterator[Pair], width: int) -> dict[str, int]:
    """Write the three files, and give back the first numbers of meta.json."""
    end = np.zeros(2, OFFSET)
    count = 0
    with (
        (folder / "source.ids").open("wb") as sources,
        (folder / "target.ids").open("wb") as targets,
        (folder / "offsets").open("wb") as offsets,
    ):
        offsets.write(end.tobytes())
        while chunk := list(islice(pairs, CHUNK)):
            lengths = np.array([(len(source), len(target)) for source, target in chunk], OFFSET)
            ends = end + lengths.cumsum(axis=0)
            offsets.write(ends.tobytes())
            _write_ids(sources, (source for source, _ in chunk), width)
            _write_ids(targets, (target for _, target in chunk), width)
            end = ends[-1]
            count += len(chunk)
    source_tokens, target_tokens = end.tolist()
    return {
        "pairs": count,
        "source_tokens": source_tokens,
        "target_tokens": target_tokens,
        "bytes_per_id": width,
    }


def _write_ids(file: BinaryIO, rows: Iterable[Ids], width: int) -> None:
    file.write(np.fromiter(chain.from_iterable(rows), np.dtype(f"<u{width}")).tobytes())


def _mapped(file: Path, number: np.dtype[np.integer]) -> NDArray[np.integer]:
    """The numbers in `file`, read when touched; as a plain array, whose slices are cheaper."""
    if file.stat().st_size == 0:  # which cannot be mapped
        return np.empty(0, number)
    return np.asarray(np.memmap(file, number, "r"))


def _damaged(folder: Path) -> ValueError:
    return ValueError(
        f"the tokenized pairs in {folder} are damaged: delete that folder and run again"
    )
