"""Sampling: a token drawn at every step, from numbers that follow from the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from sublayer.generation import logits as change
from sublayer.generation.greedy import Chosen, chosen, likeliest
from sublayer.generation.logits import NO_RULES, Rules
from sublayer.generation.stopping import check_stop

WORD = 2**64 - 1

Stream = tuple[int, int]
"""A seed and a number: rows draw alike only if both are equal."""


@dataclass(frozen=True)
class SampleOptions:
    """How freely to write, and how far."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_k: int = 0
    """0: all."""
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | tuple[int, ...] | None = None
    """One for all rows, or one for each; None: another one each time, from PyTorch's generator."""
    max_new: int | None = 256
    """Tokens with the end; None: the prompt's or source's length + 50."""
    rules: Rules = NO_RULES
    stop: tuple[str, ...] = ()
    """Strings before which the text ends."""

    def __post_init__(self) -> None:
        ranges = {
            "temperature must be 0 or more": self.temperature >= 0,
            "top_k must be 0 or more": self.top_k >= 0,
            "top_p must be over 0 and at most 1": 0 < self.top_p <= 1,
            "min_p must be from 0 to 1": 0 <= self.min_p <= 1,
            "max_new must be 1 or more": self.max_new is None or self.max_new >= 1,
        }
        for rule, holds in ranges.items():
            if not holds:
                raise ValueError(f"{rule}, got {getattr(self, rule.split()[0])}")
        check_stop(self.stop)

    def limit(self, read_tokens: int) -> int:
        """Tokens an output may have, the end included."""
        return self.max_new if self.max_new is not None else read_tokens + 50

    def seeded(self) -> SampleOptions:
        """The same with a seed."""
        return replace(self, seed=int(torch.randint(2**62, ()))) if self.seed is None else self

    def streams(self, rows: Sequence[int], draw: int = 0) -> list[Stream]:
        """What rows with these numbers draw from, the `draw`-th time.

        A row with a seed of its own draws the same whatever its number.

        Raises:
            ValueError: there are seeds, but not for all the rows.
        """
        seed, further = self.seeded().seed, draw * 2**32
        assert seed is not None
        if isinstance(seed, int):
            return [(seed, row + further) for row in rows]
        if len(seed) <= max(rows, default=-1):
            raise ValueError(f"there are {len(seed)} seeds for {max(rows) + 1} rows; give each one")
        return [(seed[row], further) for row in rows]


def uniform(seed: int, row: int, step: int) -> float:
    """A number from 0 to under 1 that depends on these three and nothing else.

    They go one after another through the mixing function of SplitMix64 (Steele et al. 2014).
    """
    x = 0
    for part in (seed, row, step):
        x = ((x ^ part) + 0x9E3779B97F4A7C15) & WORD
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & WORD
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & WORD
        x ^= x >> 31
    return (x >> 12) / 2**52


@final
class Sampler:
    """Chooses tokens as `options` say.

    What a row draws depends on its stream and the step alone.
    """

    def __init__(self, options: SampleOptions, streams: Sequence[Stream]) -> None:
        self.options, self.drawn_from, self.step = options, streams, 0

    def __call__(self, logits: Tensor, allowed: Tensor, rows: Sequence[int]) -> Chosen:
        """From what is allowed of logits `r v`, of the rows with these places."""
        if self.options.temperature == 0:
            return likeliest(logits, allowed, rows)
        numbers = [uniform(*self.drawn_from[row], self.step) for row in rows]
        self.step += 1
        return chosen(logits, draw(self.cut(allowed), numbers))

    def cut(self, logits: Tensor) -> Tensor:
        """The logits `r v` that are drawn from."""
        o = self.options
        if o.temperature != 1:
            logits = change.temperature(logits, o.temperature)
        if o.top_k:
            logits = change.top_k(logits, o.top_k)
        if o.top_p < 1:
            logits = change.top_p(logits, o.top_p)
        return change.min_p(logits, o.min_p) if o.min_p else logits


def draw(logits: Tensor, numbers: Sequence[float]) -> Tensor:
    """Logits `r v` and a number in [0, 1) for each row -> tokens `r`, by inverting the sums."""
    sums = logits.double().softmax(-1).cumsum(-1)
    at = torch.tensor(numbers, dtype=sums.dtype, device=sums.device).unsqueeze(1) * sums[:, -1:]
    # beyond all sums only where these are no numbers, which is told of the token's probability
    return torch.searchsorted(sums, at, right=True).squeeze(1).clamp_max(sums.shape[1] - 1)
