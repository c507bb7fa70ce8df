"""Rotary positions, and the published ways to reach beyond the trained length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from sublayer.layers.position import Position, Turn

Rates = Callable[[int], Tensor]
"""Length of the sequence -> the angle by which each pair of a head turns per position, `d/2`.

The same tensor as long as the rates are the same."""


def plain(d_head: int, theta: float = 10_000.0) -> Rates:
    """theta^(-2i/d) (Su et al. 2021, section 3.2.2)."""
    rates = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    return lambda n: rates


def linear(d_head: int, theta: float, factor: float) -> Rates:
    """All positions divided by `factor` (Chen et al. 2023, "position interpolation")."""
    rates = plain(d_head, theta)(0) / factor
    return lambda n: rates


def dynamic(d_head: int, theta: float, factor: float, trained: int) -> Rates:
    """A base that grows with the length past `trained` (NTK-aware; Peng et al. 2023, appendix B).

    The rates of a long sequence differ from those of its beginning, so keys that were cached before
    it grew keep the turn they had.
    """
    near = plain(d_head, theta)(0)

    def rates(n: int) -> Tensor:
        if n <= trained:
            return near
        stretch = factor * n / trained - (factor - 1)
        return plain(d_head, theta * stretch ** (d_head / (d_head - 2)))(n)

    return rates


def yarn(
    d_head: int,
    theta: float,
    factor: float,
    trained: int,
    *,
    fast: float = 32.0,
    slow: float = 1.0,
    truncate: bool = True,
) -> Rates:
    """Fast pairs as they are, slow ones interpolated, a ramp between (Peng et al. 2023, eq. 13).

    `fast` and `slow` are turns within the trained length: where the ramp begins and ends.
    """

    def pair_with(turns: float) -> float:
        return d_head * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_with(fast), pair_with(slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d_head - 1)
    pairs = torch.arange(d_head // 2, dtype=torch.float64)
    ramp = ((pairs - low) / (high - low if high > low else 1e-3)).clamp(0, 1)
    rates = plain(d_head, theta)(0)
    mixed = rates / factor * ramp + rates * (1 - ramp)
    return lambda n: mixed


def yarn_strength(factor: float, weight: float = 1.0) -> float:
    """By what YaRN lengthens queries and keys: 0.1 weight ln(factor) + 1 (eq. 15, its root)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def llama3(
    d_head: int, theta: float, factor: float, trained: int, *, low: float = 1.0, high: float = 4.0
) -> Rates:
    """As YaRN, the ramp over the number of turns (Grattafiori et al. 2024, Llama 3.1's release).

    Pairs of fewer than `low` turns within the trained length are interpolated, of more than `high`
    left alone.
    """
    rates = plain(d_head, theta)(0)
    turns = trained * rates / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    mixed = (1 - kept) * rates / factor + kept * rates
    return lambda n: mixed


def longrope(
    d_head: int, theta: float, short: Sequence[float], long: Sequence[float], trained: int
) -> Rates:
    """A searched divisor for each pair, of its own up to the trained length and beyond it.

    Ding et al. 2024, "LongRoPE". `short` and `long` have d_head / 2 divisors.

    Raises:
        ValueError: another number of divisors.
    """
    for name, divisors in (("short", short), ("long", long)):
        if len(divisors) != d_head // 2:
            raise ValueError(
                f"{name} has {len(divisors)} divisors, a head of width {d_head} needs {d_head // 2}"
            )
    rates = plain(d_head, theta)(0)
    near, far = (rates / torch.tensor(x, dtype=torch.float64) for x in (short, long))
    return lambda n: far if n > trained else near


def longrope_strength(factor: float, trained: int) -> float:
    """sqrt(1 + ln(factor) / ln(trained)) (Ding et al. 2024, section 3.4)."""
    return math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0


@final
class Rotary(Position):
    """Turns pair (i, i + d/2) of queries and keys by position times rate.

    Su et al. 2021, eq. 34; halves instead of neighbours are paired, as in GPT-NeoX and all that
    follow it. A product of two turned vectors depends on the distance alone. `strength` lengthens
    both (YaRN, LongRoPE).
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, rates: Rates, strength: float = 1.0) -> None:
        super().__init__()
        self.rates, self.strength = rates, strength
        self.register_buffer("cos", torch.empty(0), persistent=False)
        self.register_buffer("sin", torch.empty(0), persistent=False)
        self._made_with = rates(0)
        self._fill(64)

    def reach(self, n: int) -> None:
        """Tables for `n` positions, at the rates of that length."""
        rates = self.rates(n)
        if n > len(self.cos) or rates is not self._made_with:
            self._made_with = rates
            self._fill(2 * n)

    def _fill(self, n: int) -> None:
        angles = torch.arange(n, dtype=torch.float64).unsqueeze(1) * self._made_with
        device = self.cos.device
        self.cos = (angles.cos() * self.strength).float().to(device)
        self.sin = (angles.sin() * self.strength).float().to(device)

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """Queries or keys `b h n d`, turned by their positions (`n` or `b n`)."""
        return self.turning(positions, x.dtype)(x)

    def turning(self, positions: Tensor, dtype: torch.dtype) -> Turn:
        """`turn`, with the rows of the tables taken and narrowed."""
        cos, sin = (table[positions].to(dtype) for table in (self.cos, self.sin))  # (b) n d/2
        if positions.ndim == 2:
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        half = sin.shape[-1] // 2
        # half a turn of the row brings each number under its partner: fewer passes than by halves
        return lambda x: x * cos + x.roll(half, -1) * sin
