"""Keys and values of one layer, in memory taken ahead."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 32
"""Slots that a cache has room for at first, at least."""
STEPS, MOST = 8, 64
"""Further steps that there is room for, in no more than so many slots."""


@final
class Cache:
    """Keys and values `b g k d`, as views of buffers that have room for more rows and slots.

    A step writes what is new and copies nothing: when the room is used up it grows by half or more,
    so that a long text copies each key a constant number of times.
    """

    def __init__(self) -> None:
        self.rows, self.length = 0, 0
        self._buffers: tuple[Tensor, Tensor] | None = None

    @property
    def keys(self) -> Tensor:
        """`b g k d`."""
        assert self._buffers is not None
        return self._seen(self._buffers[0])

    @property
    def values(self) -> Tensor:
        """`b g k d`."""
        assert self._buffers is not None
        return self._seen(self._buffers[1])

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What is new goes behind what is there; all comes back."""
        old = self.length
        for buffer, new in zip(self.open(len(k), k.shape[2], k, v), (k, v), strict=True):
            buffer[: self.rows, :, old : self.length].copy_(new)
        return self.keys, self.values

    def open(self, rows: int, n: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The buffers, in which the caller is to write the last `n` slots of these rows.

        They are like `k` and `v`, `b g n d`, in all but rows and slots.
        """
        old, self.rows, self.length = self.length, rows, self.length + n
        if self._buffers is not None and rows > len(self._buffers[0]):
            raise ValueError(f"{rows} rows go on, but {len(self._buffers[0])} were begun")
        if self._buffers is None:
            self._buffers = (self._room(k, rows, n), self._room(v, rows, n))
        elif self.length > self._buffers[0].shape[2]:
            self._grow(rows, old, n)
        return self._buffers

    def _seen(self, buffer: Tensor) -> Tensor:
        rows = buffer if self.rows == len(buffer) else buffer.narrow(0, 0, self.rows)
        return rows.narrow(2, 0, self.length)

    def _room(self, like: Tensor, rows: int, n: int) -> Tensor:
        """An empty buffer with room for half as much again as there is, or some steps of `n`."""
        room = max(self.length + max(self.length // 2, min(STEPS * n, MOST)), LEAST)
        return like.new_empty(rows, like.shape[1], room, like.shape[3])

    def _grow(self, rows: int, length: int, n: int = 1) -> None:
        assert self._buffers is not None
        new = [self._room(buffer, rows, n) for buffer in self._buffers]
        for to, buffer in zip(new, self._buffers, strict=True):
            there = min(rows, len(buffer))
            to[:there, :, :length] = buffer[:there, :, :length]
        self._buffers = (new[0], new[1])

    def reorder(self, index: Tensor, moved: Tensor) -> None:
        """Row i becomes what row `index[i]` was; `moved` are the places where that is another."""
        if self._buffers is None:
            return
        rows = len(index)
        if rows > len(self._buffers[0]):
            self._grow(rows, self.length)
        for buffer in self._buffers:
            take_rows(buffer[:, :, : self.length], index, moved)
        self.rows = rows

    def absorb(self, other: Cache) -> None:
        """The rows of another cache go behind these; the shorter ones are filled with zeros."""
        assert self._buffers is not None
        old, mine, its = self.length, self.rows, other.length
        self.rows, self.length = mine + other.rows, max(old, its)
        if self.rows > len(self._buffers[0]) or self.length > self._buffers[0].shape[2]:
            self._grow(self.rows, old)
        for buffer, new in zip(self._buffers, (other.keys, other.values), strict=True):
            buffer[:mine, :, old : self.length] = 0
            buffer[mine : self.rows, :, :its] = new
            buffer[mine : self.rows, :, its : self.length] = 0

    def keep(self, slots: Tensor) -> None:
        """Only the slots `k`, or `b k`, stay, in this order."""
        assert self._buffers is not None
        n = slots.shape[-1]
        for buffer in self._buffers:
            if slots.ndim == 1:
                kept = buffer[: self.rows].index_select(2, slots)
            else:  # as rows of one long table, which is a copy of whole vectors
                g, room, d = buffer.shape[1:]
                first = torch.arange(self.rows * g, device=slots.device).view(self.rows, g, 1)
                places = (first * room + slots.unsqueeze(1)).flatten()
                kept = buffer.view(-1, d).index_select(0, places).view(self.rows, g, n, d)
            buffer[: self.rows, :, :n] = kept
        self.length = n


def take_rows(x: Tensor, index: Tensor, moved: Tensor) -> Tensor:
    """Row i is what row `index[i]` was: written over where there is room, `moved` rows alone."""
    if len(index) > len(x):
        return x.index_select(0, index)
    if len(moved):
        x[moved] = x[index[moved]]
    return x[: len(index)]


def joined_rows(x: Tensor, y: Tensor, longest: int) -> Tensor:
    """The rows of both, `b ... k d`; where `k` is smaller it is filled up with zeros.

    Nobody needs more than the `longest` first of `k`.
    """
    k = min(max(x.shape[-2], y.shape[-2]), longest)
    return torch.cat(
        [F.pad(rows[..., :k, :], (0, 0, 0, max(k - rows.shape[-2], 0))) for rows in (x, y)]
    )
