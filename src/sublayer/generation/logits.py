"""What is done to logits before a token is chosen.

`Rules` look at what stands before: they are for every search. The functions after them cut what a
token is drawn from; `Sampler` applies them in the order of this file. Both orders are those of
transformers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, final

import torch
from torch import Tensor

NEVER = float("-inf")
TINY = 1e-6
"""The temperature below which logits are divided from the largest down, for others overflow."""
NOTHING = -1
"""What stands before a prompt that is shorter than others."""


class Past(NamedTuple):
    """Ids `r n` of what has been read and written; the output begins at column `begin`."""

    ids: Tensor
    begin: int = 0

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], device: torch.device) -> Past:
        """Prompts, of which nothing has been written yet."""
        longest = max(map(len, prompts), default=0)
        rows = [[*[NOTHING] * (longest - len(prompt)), *prompt] for prompt in prompts]
        ids = torch.tensor(rows, dtype=torch.long, device=device).view(len(prompts), longest)
        return cls(ids, longest)

    @property
    def output(self) -> Tensor:
        """Ids `r n` of what has been written."""
        return self.ids[:, self.begin :]

    @property
    def written(self) -> int:
        """How many tokens each row has written."""
        return self.ids.shape[1] - self.begin

    def take(self, index: Tensor) -> Past:
        """Row i is what row `index[i]` was."""
        return Past(self.ids[index], self.begin)

    def then(self, tokens: Tensor) -> Past:
        """With one token more for each row."""
        return Past(torch.cat([self.ids, tokens.unsqueeze(1)], 1), self.begin)


class Rule(ABC):
    """Abstract. What is liked less, or not at all, because of what stands before.

    A beam search has its early stop from this: no log-probability may become positive.
    """

    @abstractmethod
    def __call__(self, logits: Tensor, past: Past) -> Tensor:
        """Logits or log-probabilities `r v` of what comes next -> the same `r v`, changed."""


@final
@dataclass(frozen=True)
class RepetitionPenalty(Rule):
    """Tokens of prompt and output become less likely for a `penalty` over 1.

    Positive logits are divided by it, negative ones multiplied (Keskar et al. 2019, "CTRL", section
    4.1, whose formula is for positive ones alone).

    Raises:
        ValueError: the penalty is not over 0.
    """

    penalty: float

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"repetition_penalty must be over 0, got {self.penalty}")

    def __call__(self, logits: Tensor, past: Past) -> Tensor:
        """Logits `r v` -> `r v`."""
        # in the place of nothing the last token, which is penalized anyway
        seen = past.ids.where(past.ids != NOTHING, past.ids[:, -1:])
        old = logits.gather(1, seen)
        new = (old / self.penalty).where(old > 0, old * self.penalty)
        return logits.scatter(1, seen, new)


@final
@dataclass(frozen=True)
class FrequencyPenalty(Rule):
    """Logits fall by `penalty` for each time that a token stands in the output, as in OpenAI's API.

    Raises:
        ValueError: the penalty is negative.
    """

    penalty: float

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise ValueError(f"frequency_penalty must be 0 or more, got {self.penalty}")

    def __call__(self, logits: Tensor, past: Past) -> Tensor:
        """Logits `r v` -> `r v`."""
        less = logits.new_full(past.output.shape, -self.penalty)
        return logits.scatter_add(1, past.output, less)


@final
@dataclass(frozen=True)
class NoRepeat(Rule):
    """No `n` tokens in a row stand twice in prompt and output (Paulus et al. 2018, section 2.5).

    Raises:
        ValueError: `n` is less than 1.
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"no_repeat_ngram must be 1 or more, got {self.n}")

    def __call__(self, logits: Tensor, past: Past) -> Tensor:
        """Logits `r v` -> `r v`."""
        length, v = past.ids.shape[1], logits.shape[1]
        if length < self.n:
            return logits
        grams = past.ids.unfold(1, self.n, 1)  # r g n
        last = past.ids[:, length + 1 - self.n :].unsqueeze(1)  # r 1 n-1
        again = (grams[..., :-1] == last).all(-1) & (grams[..., -1] != NOTHING)
        # a column more takes what is not forbidden, for a scatter cannot leave anything out
        banned = torch.zeros(len(logits), v + 1, dtype=torch.bool, device=logits.device)
        banned.scatter_(1, grams[..., -1].where(again, v), True)
        return logits.masked_fill(banned[:, :v], NEVER)


@final
class Forbidden(Rule):
    """Some sequences of ids are never finished, as with transformers' `bad_words_ids`.

    Raises:
        ValueError: one of them is empty.
    """

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        if not all(sequences):
            raise ValueError("forbidden has a sequence of no ids, which stands everywhere")
        unlike = sorted({tuple(ids) for ids in sequences}, key=lambda ids: (len(ids), ids))
        self.by_length = [torch.tensor(list(s)) for _, s in groupby(unlike, key=len)]  # s n

    def __call__(self, logits: Tensor, past: Past) -> Tensor:
        """Logits `r v` -> `r v`."""
        for ids in self.by_length:
            ids = ids.to(logits.device)
            before, last = ids[:, :-1], ids[:, -1]
            n, length = before.shape[1], past.ids.shape[1]
            if n > length:
                break
            stands = (past.ids[:, None, length - n :] == before).all(-1)  # r s
            less = torch.zeros_like(stands, dtype=logits.dtype).masked_fill(stands, NEVER)
            logits = logits.index_add(1, last, less)
        return logits


@final
@dataclass(frozen=True)
class Rules:
    """What an output may be: it begins with the ids `prefix`, and goes on as `parts` let it.

    The parts change logits one after another. They see the prefix, but do not touch it.
    """

    parts: tuple[Rule, ...] = ()
    prefix: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parts or self.prefix)

    def __call__(self, logits: Tensor, past: Past) -> Tensor:
        """Logits or log-probabilities `r v` of what comes next -> the same `r v`, changed."""
        if past.written < len(self.prefix):
            only = self.prefix[past.written]
            rest = torch.ones_like(logits, dtype=torch.bool)
            rest[:, only] = False
            return logits.masked_fill(rest, NEVER)
        for part in self.parts:
            logits = part(logits, past)
        return logits


NO_RULES = Rules()


def temperature(logits: Tensor, t: float) -> Tensor:
    """Logits over `t`: below 1 the likely become likelier (Ackley et al. 1985)."""
    if t < TINY:
        logits = logits - logits.amax(-1, keepdim=True)
    return logits / t


def top_k(logits: Tensor, k: int) -> Tensor:
    """Only the `k` likeliest are left, and what ties with the last of them (Fan et al. 2018)."""
    worst = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < worst, NEVER)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Only the likeliest are left, as few as have probability `p` together.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1.
    """
    best_first, order = logits.sort(stable=True, dim=-1, descending=True)
    probabilities = best_first.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    beyond = before >= p
    beyond[:, 0] = False
    return logits.masked_fill(beyond.scatter(-1, order, beyond), NEVER)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Only those are left that have at least `p` times the likeliest's probability.

    Nguyen et al. 2024, "Turning up the heat: min-p sampling".
    """
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), NEVER)
