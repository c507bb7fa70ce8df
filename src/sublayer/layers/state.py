"""What a model remembers between decoding steps. The caller owns it; modules are its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.cache import Cache, joined_rows, take_rows
from sublayer.layers.mask import Causal, Given, Mask

NOWHERE = 2**31 - 1
"""Where padding stands: behind everything, so that no causal mask lets anybody see it."""
STEPS = 8
"""Steps of a search after which slots that nobody sees any more are looked for."""


@final
class State:
    """Keys and values of the past, where they stand, and things computed once.

    A batch has `b` rows, and each row `seen` slots for tokens. Beams of one text are lanes of one
    row: they stand side by side as its new tokens, each seeing what it goes on from, so that what
    they share is kept once and a beam search moves no keys. Slots that no lane sees any more, or
    that no window reaches, are given up from time to time.
    """

    def __init__(self) -> None:
        self.seen = 0
        """Slots of the past that are kept, padding included."""
        # where the slots stand, `k` or `b k`; None while slot i stands at position i
        self._places: Tensor | None = None
        # where the next token of each row stands, `b`; None while that is _reach for all
        self._next: Tensor | None = None
        self._reach: int | None = 0  # over all rows; None: not known
        self._sees: Tensor | None = None  # b w k: which slots a lane goes on from; None: all
        self._checked = 0  # slots at the last look for those that nobody sees
        self._caches: dict[nn.Module, Cache] = {}
        self._memo: dict[nn.Module, tuple[Tensor, ...]] = {}
        self._carried: dict[nn.Module, tuple[Tensor, ...]] = {}

    # ---- where tokens stand

    @property
    def reach(self) -> int:
        """Positions up to the newest token of any row."""
        if self._reach is None:
            assert self._next is not None
            self._reach = int(self._next.max()) if len(self._next) else 0
        return self._reach

    def advance(
        self,
        n: int,
        device: torch.device,
        valid: Tensor | None = None,
        *,
        span: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Positions of `n` new slots and of all, new ones last: `n` and `k`, or `b n` and `b k`.

        `valid` (`b n`) is false at new slots that are padding. Those behind the last token of a row
        take no position: what comes next stands there. After `branch` the new slots are one for
        each lane. Nobody will ask for keys `span` positions away or more; None is no bound.
        """
        self._give_up(span)
        if self._sees is not None:
            new = self._advance_lanes(n, device)
        elif valid is None and self._next is None:
            new = torch.arange(self.reach, self.reach + n, device=device)
            self._reach = self.reach + n
            if self._places is not None:
                self._places = torch.cat([self._places, new])
        else:
            new = self._advance_by_row(n, device, valid)
        self.seen += n
        if self._places is not None:
            return new, self._places
        return new, new if self.seen == n else torch.arange(self.seen, device=device)

    def _advance_lanes(self, n: int, device: torch.device) -> Tensor:
        assert self._sees is not None
        assert n == self._sees.shape[1], "a token for every lane"
        reach = self.reach
        if self._next is None:
            new = torch.full((n,), reach, device=device)
            places = self._places_alike(device)
        else:
            new, places = self._next.unsqueeze(1).expand(-1, n), self._places_by_row(device)
            self._next = self._next + 1
        self._places, self._reach = torch.cat([places, new], -1), reach + 1
        own = torch.eye(n, dtype=torch.bool, device=device).expand(len(self._sees), -1, -1)
        self._sees = torch.cat([self._sees, own], 2)
        return new

    def _advance_by_row(self, n: int, device: torch.device, valid: Tensor | None) -> Tensor:
        if self._next is None:
            assert valid is not None
            self._part(len(valid), device)
        assert self._next is not None
        new = self._next.unsqueeze(1) + torch.arange(n, device=device)  # b n
        if valid is None:
            slots, taken = new, torch.full_like(self._next, n)
            self._reach = None if self._reach is None else self._reach + n
        else:
            slots = new.masked_fill(~valid, NOWHERE)
            # a padding token still asks, and must not ask from beyond the tables of positions
            new = new.masked_fill(~valid, 0)
            taken = (valid * torch.arange(1, n + 1, device=device)).amax(1)
            self._reach = None
        self._places = torch.cat([self._places_by_row(device), slots], 1)
        self._next = self._next + taken
        return new

    def _places_alike(self, device: torch.device) -> Tensor:
        return torch.arange(self.seen, device=device) if self._places is None else self._places

    def _places_by_row(self, device: torch.device) -> Tensor:
        assert self._next is not None
        places = self._places_alike(device)
        return places.expand(len(self._next), -1) if places.ndim == 1 else places

    def _part(self, rows: int, device: torch.device) -> None:
        """From here on rows have positions of their own."""
        if self._next is None:
            self._next = torch.full((rows,), self.reach, device=device)
            self._places = self._places_by_row(device)

    def narrow(self, mask: Mask | None, n: int) -> Mask | None:
        """The mask of `n` tokens that were just advanced by: with what lanes see.

        A causal mask forbids nothing to the newest token alone, nor to a lane.
        """
        if self._sees is not None:
            own = Given(self._sees)
            return own if mask is None or isinstance(mask, Causal) else mask & own
        if n == 1 and self._next is None and isinstance(mask, Causal):
            return None
        return mask

    # ---- what is kept

    def append(self, owner: nn.Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `b g n d` go behind the past ones of `owner`; all `b g k d` come back."""
        return self.cache(owner).append(k, v)

    def cache(self, owner: nn.Module) -> Cache:
        """Where the past keys and values of `owner` are."""
        if owner not in self._caches:
            self._caches[owner] = Cache()
        return self._caches[owner]

    def once(self, owner: nn.Module, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What `make` gives, made at the first call of `owner` and kept: `b ... k d`."""
        if owner not in self._memo:
            self._memo[owner] = make()
        return self._memo[owner]

    def carry(self, owner: nn.Module, *carried: Tensor) -> None:
        """Keep what `owner` goes on from at the next step, `b w ...` of `w` lanes, one at first."""
        self._carried[owner] = carried

    def carried(self, owner: nn.Module) -> tuple[Tensor, ...] | None:
        """What `owner` goes on from, `b w ...`; None where it begins."""
        return self._carried.get(owner)

    @property
    def has_lanes(self) -> bool:
        """Whether new tokens are one for each lane, and not one behind the other."""
        return self._sees is not None

    # ---- what a search does to it

    def branch(self, lanes: Tensor) -> None:
        """Lane j of a row goes on from what its lane `lanes[j]` saw, `b w`."""
        rows, w = lanes.shape
        if self._sees is None:
            assert not lanes.any(), "there is one lane as yet"
            self._sees = torch.ones(rows, w, self.seen, dtype=torch.bool, device=lanes.device)
            if self._next is not None:
                held = self._places_by_row(lanes.device) != NOWHERE
                self._sees &= held.unsqueeze(1)
        else:
            self._sees = self._sees.gather(1, lanes.unsqueeze(2).expand(-1, -1, self.seen))
        row = torch.arange(rows, device=lanes.device).unsqueeze(1)
        self._change_carried(lambda kept: kept[row, lanes])

    def reorder(self, index: Tensor) -> None:
        """Row i becomes what row `index[i]` was; rows may be dropped or repeated.

        Only rows that move are copied, so what leaves is best replaced by the last.
        """
        moved = (index != torch.arange(len(index), device=index.device)).nonzero().squeeze(1)
        if self._next is not None:
            assert self._places is not None
            self._places, self._next = self._places[index], self._next[index]
            self._reach = None
        if self._sees is not None:
            self._sees = self._sees[index]
        for cache in self._caches.values():
            cache.reorder(index, moved)
        self._memo = {
            owner: tuple(take_rows(t, index, moved) for t in kept)
            for owner, kept in self._memo.items()
        }
        self._change_carried(lambda kept: kept[index])

    def absorb(self, other: State, longest: int = NOWHERE) -> None:
        """The rows of another state, which has as many lanes, go behind these.

        From now on rows have positions of their own; shorter ones are padded where nobody looks. Of
        what was computed once, the `longest` first of `k` are needed yet.
        """
        assert self.has_lanes == other.has_lanes, "rows share their number of lanes"
        seen = max(self.seen, other.seen)
        if self._caches:
            self._absorb_places(other, seen)
        if self._sees is not None and other._sees is not None:
            both = ((self._sees, self.seen), (other._sees, other.seen))
            self._sees = torch.cat([F.pad(sees, (0, seen - n)) for sees, n in both])
        for owner, cache in self._caches.items():
            cache.absorb(other._caches[owner])
        self._memo = {
            owner: tuple(
                joined_rows(mine, its, longest)
                for mine, its in zip(kept, other._memo[owner], strict=True)
            )
            for owner, kept in self._memo.items()
        }
        self._carried = {
            owner: tuple(map(torch.cat, zip(carried, other._carried[owner], strict=True)))
            for owner, carried in self._carried.items()
        }
        self.seen = seen

    def _absorb_places(self, other: State, seen: int) -> None:
        owner, cache = next(iter(self._caches.items()))
        device = cache.keys.device
        self._part(cache.rows, device)
        other._part(other._caches[owner].rows, device)
        assert self._next is not None
        assert other._next is not None
        places = (
            F.pad(state._places_by_row(device), (0, seen - state.seen), value=NOWHERE)
            for state in (self, other)
        )
        self._places, self._next = torch.cat([*places]), torch.cat([self._next, other._next])
        self._reach = None

    def _change_carried(self, change: Callable[[Tensor], Tensor]) -> None:
        self._carried = {
            owner: tuple(map(change, carried)) for owner, carried in self._carried.items()
        }

    # ---- what nobody sees any more

    def _give_up(self, span: int | None) -> None:
        """Forget slots that no lane sees, that hold no token, or that no window reaches."""
        lanes = 1 if self._sees is None else self._sees.shape[1]
        is_due = self.seen - self._checked >= STEPS * lanes
        if span is not None and self._next is None and self._sees is None:
            # at twice the window, so that a key is copied once
            if self.seen >= 2 * span:
                self._keep(torch.arange(self.seen - span + 1, self.seen))
        elif is_due and self._caches and not torch.compiler.is_compiling():
            if self._next is not None or self._sees is not None:
                self._forget_unseen(span)
            self._checked = self.seen

    def _forget_unseen(self, span: int | None) -> None:
        places = self._places
        if places is None:
            return  # lanes have only begun, and see all there is
        newest = self.reach if self._next is None else self._next.unsqueeze(1)
        used = places != NOWHERE
        if span is not None:
            used = used & (places > newest - span)
        if self._sees is not None:
            used = used & self._sees.any(1)  # b k
        width = int(used.sum(-1).max()) if used.numel() else self.seen
        if used.ndim == 1 or 8 * width > 7 * self.seen:
            return  # too few to be worth a copy of the others
        # those in use first, in their order; rows of fewer keep some that are not
        self._keep(used.byte().argsort(dim=1, descending=True, stable=True)[:, :width], used)

    def _keep(self, slots: Tensor, used: Tensor | None = None) -> None:
        """Only the slots `k`, or `b k`, go on; of the latter, those not `used` hold nothing."""
        device = next(iter(self._caches.values())).keys.device
        slots = slots.to(device)
        if slots.ndim == 1:
            self._places = self._places_alike(device)[slots]
        else:
            assert used is not None
            self._part(len(slots), device)
            held = used.gather(1, slots)
            self._places = self._places_by_row(device).gather(1, slots)
            self._places = self._places.masked_fill(~held, NOWHERE)
            if self._sees is not None:
                own = slots.unsqueeze(1).expand(-1, self._sees.shape[1], -1)
                self._sees = self._sees.gather(2, own) & held.unsqueeze(1)
        for cache in self._caches.values():
            cache.keep(slots)
        self.seen = slots.shape[-1]
