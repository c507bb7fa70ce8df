"""Who may see whom: predicates on positions, which compose with `&`, `|` and `~`.

A mask compares positions, never tensor sizes, so it is right under caching without a special case,
and it stays symbolic until somebody needs the dense tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor


class Mask(ABC):
    """Abstract. True where a query may see a key.

    `q_pos` is `q` or `b q`, `k_pos` is `k` or `b k` (int64); the bools broadcast to `b q k`.
    """

    @abstractmethod
    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""

    @property
    def span(self) -> int | None:
        """Keys so many positions away, or more, are seen by nobody; None: there is no bound."""
        return None

    def __and__(self, other: Mask) -> Mask:
        return Both(self, other)

    def __or__(self, other: Mask) -> Mask:
        return Either(self, other)

    def __invert__(self) -> Mask:
        return Not(self)


@final
@dataclass(frozen=True)
class Both(Mask):
    """Seen by `a` and by `b`."""

    a: Mask
    b: Mask

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        return self.a(q_pos, k_pos) & self.b(q_pos, k_pos)

    @property
    def span(self) -> int | None:
        """The nearer bound."""
        bounds = [mask.span for mask in (self.a, self.b) if mask.span is not None]
        return min(bounds, default=None)


@final
@dataclass(frozen=True)
class Either(Mask):
    """Seen by `a` or by `b`."""

    a: Mask
    b: Mask

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        return self.a(q_pos, k_pos) | self.b(q_pos, k_pos)

    @property
    def span(self) -> int | None:
        """The farther bound, if both have one."""
        a, b = self.a.span, self.b.span
        return None if a is None or b is None else max(a, b)


@final
@dataclass(frozen=True)
class Not(Mask):
    """Seen where `a` does not see."""

    a: Mask

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        return ~self.a(q_pos, k_pos)


@final
@dataclass(frozen=True)
class Causal(Mask):
    """A position sees itself and those before it (Vaswani et al. 2017, section 3.2.3)."""

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        return q_pos.unsqueeze(-1) >= k_pos.unsqueeze(-2)


@final
@dataclass(frozen=True)
class Window(Mask):
    """Only keys less than `size` positions away, either side (Child et al. 2019).

    With `Causal`, the last `size` positions, its own among them (Jiang et al. 2023, "Mistral 7B").
    """

    size: int

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        return (q_pos.unsqueeze(-1) - k_pos.unsqueeze(-2)).abs() < self.size

    @property
    def span(self) -> int:
        """Its size."""
        return self.size


@final
@dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Nobody sees padding. `valid` is `b n` (bool), true at real tokens, by key position."""

    valid: Tensor

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        seen = self.valid[:, k_pos] if k_pos.ndim == 1 else self.valid.gather(1, k_pos)
        return seen.unsqueeze(-2)  # b 1 k


@final
@dataclass(frozen=True, eq=False)
class Given(Mask):
    """As a tensor says that is at hand, `b q k` (bool), for these queries and keys alone."""

    allowed: Tensor

    def __call__(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """The dense tensor."""
        return self.allowed
