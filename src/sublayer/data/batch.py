"""The rows of one step as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sublayer.text.special import Special, Spelling

Row = tuple[NDArray[np.integer], NDArray[np.integer]]
"""Source ids and target ids of one example, as the task that wrote them to the store has them."""


@runtime_checkable
class Step(Protocol):
    """What the loop needs to know of any batch."""

    @property
    def tokens(self) -> int:
        """What the loss, a sum, is divided by: what is predicted and counts."""

    @property
    def read(self) -> int:
        """Tokens, or images, that go through the model: what speed is counted in."""

    def to(self, device: torch.device | str) -> Any:
        """The same batch on `device`."""


@final
@dataclass(frozen=True)
class Labelled:
    """Padded inputs, each with what is to be said of it.

    inputs      b n      int64 ids, b n c letters of words, or b c h w float32 pixels
    valid       b n      bool, False at padding; None if there is none
    segments    b n      int64, which of two texts a token is of; None for one text
    labels               what the objective asks: b, b c or b n, by its own description
    pair        b        int64, a label of the two texts beside that of tokens; None without
    tokens, read         see `Step`
    """

    inputs: Tensor
    valid: Tensor | None
    segments: Tensor | None
    labels: Tensor
    tokens: int
    read: int
    pair: Tensor | None = None

    def to(self, device: torch.device | str) -> Labelled:
        """The same batch on `device`, copied without waiting where that is possible."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Labelled(
            self.inputs.to(device, non_blocking=True),
            moved(self.valid),
            moved(self.segments),
            self.labels.to(device, non_blocking=True),
            self.tokens,
            self.read,
            moved(self.pair),
        )


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
    def read(self) -> int:
        """Target tokens."""
        return self.tokens

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
    return pad([np.array([*ids, special.eos]) for ids in rows], special.pad)


def pad(
    rows: Sequence[Sequence[int] | NDArray[np.integer]], filler: int
) -> tuple[Tensor, Tensor | None]:
    """Ids as they are, `b n` int64, and `b n` bool, False at padding; None if there is none."""
    lengths = np.array([len(ids) for ids in rows])
    padded = np.full((len(rows), lengths.max()), filler, np.int64)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    valid = _valid(lengths, padded.shape[1]) if (lengths < padded.shape[1]).any() else None
    return torch.from_numpy(padded), valid


LETTERS = 50
"""Of a word at most, with what begins and ends it (Peters et al. 2018, as released)."""


def spell(
    rows: Sequence[Sequence[int] | NDArray[np.integer]], spelling: Spelling, filler: int
) -> tuple[Tensor, Tensor | None]:
    """Ids of letters as words, `b n c` int64, and `b n` bool, False at padding; None without any.

    A word ends before the next one begins, and an end is put behind it. Longer words are cut, which
    begin and end survive.
    """
    ids = np.concatenate([np.asarray(row) for row in rows]).astype(np.int64)
    is_first = np.isin(ids, spelling.begins)
    assert is_first[:1].all(), "letters stand behind what begins a word"
    starts, word = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    kept = np.minimum(np.diff(starts, append=len(ids)), LETTERS - 1)
    row = np.repeat(np.arange(len(rows)), [len(row) for row in rows])[starts]
    counts = np.bincount(row, minlength=len(rows))
    column = np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
    letters = np.full((len(rows), counts.max(), kept.max() + 1), filler)
    place = np.arange(len(ids)) - starts[word]
    fits = place < kept[word]
    letters[row[word[fits]], column[word[fits]], place[fits]] = ids[fits]
    letters[row, column, kept] = spelling.end
    valid = _valid(counts, letters.shape[1]) if (counts < letters.shape[1]).any() else None
    return torch.from_numpy(letters), valid


def _valid(lengths: NDArray[np.int64], longest: int) -> Tensor:
    return torch.from_numpy(np.arange(longest) < lengths[:, None])


@final
@dataclass(frozen=True)
class Pairs:
    """Texts and what belongs to them: row i of one side to row i of the other.

    `alike` is `b b` (bool): pairs beside the diagonal that are no wrong answers, as one of the two
    texts is the same.
    """

    source: Labelled
    target: Labelled
    alike: Tensor

    @property
    def tokens(self) -> int:
        """Pairs."""
        return len(self.alike)

    @property
    def read(self) -> int:
        """Tokens of both sides."""
        return self.source.read + self.target.read

    def to(self, device: torch.device | str) -> Pairs:
        """The same batch on `device`."""
        return Pairs(self.source.to(device), self.target.to(device), self.alike.to(device))
