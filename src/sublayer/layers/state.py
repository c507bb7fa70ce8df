"""What a model remembers between decoding steps. The caller owns it; modules are its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

NOWHERE = 2**31 - 1
"""Where padding stands: behind everything, so that no causal mask lets anybody see it."""


@final
class State:
    """Keys and values of the past, where they stand, and things computed once.

    `seen` is how many slots of the past are filled, padding included. One row of every tensor
    belongs to one hypothesis: `reorder` is all a beam search needs to know.
    """

    def __init__(self) -> None:
        self.seen = 0
        # b seen and b: where the slots stand and where the next one would; None while rows are
        # alike and slot i stands at position i
        self._places: Tensor | None = None
        self._next: Tensor | None = None
        # buffers b g capacity d, filled up to _length
        self._past: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._length: dict[nn.Module, int] = {}
        self._memo: dict[nn.Module, tuple[Tensor, ...]] = {}

    def advance(
        self, n: int, device: torch.device, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Positions of `n` new slots and of all, new ones last: `n` and `k`, or `b n` and `b k`.

        `valid` (`b n`) is false at new slots that are padding. Those behind the last token of a row
        take no position: what comes next stands there.
        """
        if valid is None and self._places is None:
            places = torch.arange(self.seen + n, device=device)
            new = places[self.seen :] if self.seen else places
        else:
            new, places = self._advance_by_row(n, device, valid)
        self.seen += n
        return new, places

    def _advance_by_row(
        self, n: int, device: torch.device, valid: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if self._places is None or self._next is None:
            assert valid is not None
            self._places = torch.arange(self.seen, device=device).expand(len(valid), -1)
            self._next = torch.full((len(valid),), self.seen, device=device)
        new = self._next.unsqueeze(1) + torch.arange(n, device=device)  # b n
        if valid is None:
            slots, taken = new, torch.full_like(self._next, n)
        else:
            slots = new.masked_fill(~valid, NOWHERE)
            # a padding token still asks, and must not ask from beyond the tables of positions
            new = new.masked_fill(~valid, 0)
            taken = (valid * torch.arange(1, n + 1, device=device)).amax(1)
        self._places, self._next = torch.cat([self._places, slots], 1), self._next + taken
        return new, self._places

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

    def reorder(self, index: Tensor, *, once: bool = True) -> None:
        """Row i becomes what row `index[i]` was; rows may be dropped or repeated.

        `once=False` leaves what was made once: for rows that change among those it is equal for.
        """
        if self._places is not None and self._next is not None:
            self._places, self._next = self._places[index], self._next[index]
        for owner, buffers in self._past.items():
            length = self._length[owner]
            moved = []
            for old in buffers:
                buffer = old.new_empty(len(index), *old.shape[1:])
                buffer[:, :, :length] = old[:, :, :length].index_select(0, index)
                moved.append(buffer)
            self._past[owner] = (moved[0], moved[1])
        if not once:
            return
        self._memo = {
            owner: tuple(t.index_select(0, index) for t in kept)
            for owner, kept in self._memo.items()
        }
