"""What a search gives, and what it is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One output of a search."""

    ids: list[int]
    """Token ids, without start and end."""
    logprob: float
    """ln P(ids, end | source), or ln P(ids | source) if the length limit cut it."""
    score: float
    """`logprob` over the length penalty: what hypotheses are ranked by."""
    ended: bool
    """False if the length limit cut it."""


@dataclass(frozen=True)
class SearchOptions:
    """How far and how wide to search."""

    beam: int = 4
    """Hypotheses kept at every step; 1 is greedy search."""
    length_penalty: float = 0.6
    """alpha; 0 is none."""
    max_length: int | None = None
    """Tokens with the end; None: the source's length + 50 (Vaswani et al. 2017, section 6.1)."""
    n_best: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.n_best <= self.beam:
            raise ValueError(f"n_best {self.n_best} must lie between 1 and the beam, {self.beam}")
        if self.length_penalty < 0:
            raise ValueError(f"length_penalty must be 0 or more, got {self.length_penalty}")
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length must be 1 or more, got {self.max_length}")

    def limit(self, source_tokens: int) -> int:
        """Tokens an output may have, the end included."""
        return self.max_length if self.max_length is not None else source_tokens + 50


def length_penalty(tokens: int, alpha: float) -> float:
    """((5 + |Y|) / 6)^alpha (Wu et al. 2016, eq. 14), where |Y| counts the end."""
    return ((5 + tokens) / 6) ** alpha
