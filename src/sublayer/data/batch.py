"""The rows of one step as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sublayer.text.special import Special

Row = tuple[NDArray[np.integer], NDArray[np.integer]]
"""Source ids and target ids of one pair, without special ids."""


@final
@dataclass(frozen=True)
class Batch:
    """Padded pairs for teacher forcing.

    source        b n    int64, ids + end
    source_valid  b n    bool, False at padding; None if there is none
    target        b k+1  int64, begin + ids + end
    target_valid  b k    bool, over `target_out`
    tokens               how many of `target_out` are no padding
    """

    source: Tensor
    source_valid: Tensor | None
    target: Tensor
    target_valid: Tensor
    tokens: int

    @property
    def target_in(self) -> Tensor:
        """What the decoder reads: b k."""
        return self.target[:, :-1]

    @property
    def target_out(self) -> Tensor:
        """What it is to say, one position on: b k."""
        return self.target[:, 1:]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`, copied without waiting where that is possible."""
        source_valid = (
            None if self.source_valid is None else self.source_valid.to(device, non_blocking=True)
        )
        return Batch(
            self.source.to(device, non_blocking=True),
            source_valid,
            self.target.to(device, non_blocking=True),
            self.target_valid.to(device, non_blocking=True),
            self.tokens,
        )


def collate(rows: Sequence[Row], source: Special, target: Special) -> Batch:
    """Make a batch of `rows`, with the special ids of the two sides."""
    source_ids, source_valid = pad_source([ids for ids, _ in rows], source)
    target_lengths = np.array([len(ids) + 1 for _, ids in rows])
    target_ids = np.full((len(rows), target_lengths.max() + 1), target.pad, np.int64)
    target_ids[:, 0] = target.bos
    for row, (_, ids) in enumerate(rows):
        target_ids[row, 1 : len(ids) + 1] = ids
    target_ids[np.arange(len(rows)), target_lengths] = target.eos
    return Batch(
        source=source_ids,
        source_valid=source_valid,
        target=torch.from_numpy(target_ids),
        target_valid=_valid(target_lengths, target_ids.shape[1] - 1),
        tokens=int(target_lengths.sum()),
    )


def pad_source(
    rows: Sequence[Sequence[int] | NDArray[np.integer]], special: Special
) -> tuple[Tensor, Tensor | None]:
    """Ids with their end, `b n` int64, and `b n` bool, False at padding; None if there is none."""
    lengths = np.array([len(ids) + 1 for ids in rows])
    padded = np.full((len(rows), lengths.max()), special.pad, np.int64)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    padded[np.arange(len(rows)), lengths - 1] = special.eos
    valid = _valid(lengths, padded.shape[1]) if (lengths < padded.shape[1]).any() else None
    return torch.from_numpy(padded), valid


def _valid(lengths: NDArray[np.int64], longest: int) -> Tensor:
    return torch.from_numpy(np.arange(longest) < lengths[:, None])
