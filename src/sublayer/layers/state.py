"""What a model remembers between decoding steps. The caller owns it; modules are its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor, nn


@final
class State:
    """Keys and values of the past, things computed once, and how many positions have been seen.

    One row of every tensor belongs to one hypothesis: `reorder` is all a beam search needs to know.
    """

    def __init__(self) -> None:
        self.seen = 0
        # buffers b g capacity d, filled up to _length
        self._past: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._length: dict[nn.Module, int] = {}
        self._memo: dict[nn.Module, tuple[Tensor, ...]] = {}

    def append(self, owner: nn.Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `b g n d` go behind the past ones of `owner`; all `b g k d` come back."""
        old = self._length.get(owner, 0)
        new = old + k.shape[2]
        if old == 0 or new > self._past[owner][0].shape[2]:
            # room doubles, so that a long output copies each key a constant number of times
            grown = tuple(t.new_empty(*t.shape[:2], max(2 * new, 16), t.shape[3]) for t in (k, v))
            if old:
                for buffer, past in zip(grown, self._past[owner], strict=True):
                    buffer[:, :, :old] = past[:, :, :old]
            self._past[owner] = (grown[0], grown[1])
        keys, values = self._past[owner]
        keys[:, :, old:new], values[:, :, old:new] = k, v
        self._length[owner] = new
        return keys[:, :, :new], values[:, :, :new]

    def once(self, owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What `make` gives, made at the first call of `owner` and kept; axis 0 is the batch."""
        if owner not in self._memo:
            self._memo[owner] = make()
        return self._memo[owner]

    def reorder(self, index: Tensor) -> None:
        """Row i becomes what row `index[i]` was; rows may be dropped or repeated."""
        for owner, buffers in self._past.items():
            length = self._length[owner]
            moved = []
            for old in buffers:
                buffer = old.new_empty(len(index), *old.shape[1:])
                buffer[:, :, :length] = old[:, :, :length].index_select(0, index)
                moved.append(buffer)
            self._past[owner] = (moved[0], moved[1])
        self._memo = {
            owner: tuple(t.index_select(0, index) for t in kept)
            for owner, kept in self._memo.items()
        }
