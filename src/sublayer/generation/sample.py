"""Sampling: a token drawn at every step, from numbers that follow from the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sublayer.generation import logits as change

WORD = 2**64 - 1


@dataclass(frozen=True)
class SampleOptions:
    """How freely to write, and how far."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_k: int = 0
    """0: all."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    """None: another one each time, from PyTorch's generator."""
    max_new: int = 256
    """Tokens with the end."""
    stop: tuple[str, ...] = ()
    """Strings before which the text ends."""

    def __post_init__(self) -> None:
        ranges = {
            "temperature must be 0 or more": self.temperature >= 0,
            "top_k must be 0 or more": self.top_k >= 0,
            "top_p must be over 0 and at most 1": 0 < self.top_p <= 1,
            "min_p must be from 0 to 1": 0 <= self.min_p <= 1,
            "repetition_penalty must be over 0": self.repetition_penalty > 0,
            "max_new must be 1 or more": self.max_new >= 1,
        }
        for rule, holds in ranges.items():
            if not holds:
                raise ValueError(f"{rule}, got {getattr(self, rule.split()[0])}")
        if isinstance(self.stop, str) or not all(self.stop):
            raise ValueError(f"stop must be a tuple of strings that are not empty: {self.stop!r}")


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
    """Chooses tokens as `options` say, for rows that began with `prompts`.

    What a row draws depends on the seed, its number (`numbers`, by default its place) and the step.
    """

    def __init__(
        self,
        options: SampleOptions,
        prompts: Sequence[Sequence[int]],
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.options, self.prompts = options, prompts
        self.numbers = range(len(prompts)) if numbers is None else numbers
        self.seed = int(torch.randint(2**62, ())) if options.seed is None else options.seed
        self.step = 0
        self.seen: Tensor | None = None  # b v: what stands in prompt or output

    def __call__(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        """Logits `r v` of the next step and the places of their rows -> tokens `r`."""
        index = torch.tensor(rows, device=logits.device)
        if self.options.repetition_penalty != 1:
            logits = change.repetition_penalty(
                logits, self._seen(logits)[index], self.options.repetition_penalty
            )
        if self.options.temperature == 0:
            tokens = logits.argmax(-1)
        else:
            tokens = draw(self.cut(logits), [self._uniform(row) for row in rows])
        if self.seen is not None:
            self.seen[index, tokens] = True
        self.step += 1
        return tokens

    def cut(self, logits: Tensor) -> Tensor:
        """The logits `r v` that are drawn from, once repetitions are penalized."""
        o = self.options
        if o.temperature != 1:
            logits = change.temperature(logits, o.temperature)
        if o.top_k:
            logits = change.top_k(logits, o.top_k)
        if o.top_p < 1:
            logits = change.top_p(logits, o.top_p)
        return change.min_p(logits, o.min_p) if o.min_p else logits

    def _uniform(self, row: int) -> float:
        return uniform(self.seed, self.numbers[row], self.step)

    def _seen(self, logits: Tensor) -> Tensor:
        if self.seen is None:
            self.seen = torch.zeros(
                len(self.prompts), logits.shape[1], dtype=torch.bool, device=logits.device
            )
            for row, prompt in enumerate(self.prompts):
                self.seen[row, list(prompt)] = True
        return self.seen


def draw(logits: Tensor, numbers: Sequence[float]) -> Tensor:
    """Logits `r v` and a number in [0, 1) for each row -> tokens `r`, by inverting the sums."""
    sums = logits.double().softmax(-1).cumsum(-1)
    at = torch.tensor(numbers, dtype=sums.dtype, device=sums.device).unsqueeze(1) * sums[:, -1:]
    return torch.searchsorted(sums, at, right=True).squeeze(1)
