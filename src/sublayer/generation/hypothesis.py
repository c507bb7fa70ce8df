"""What a search gives, and what it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sublayer.generation.lengths import length_penalty, limit_of
from sublayer.generation.logits import NO_RULES, Rules
from sublayer.generation.stopping import check_stop


@dataclass(frozen=True)
class Hypothesis:
    """One output of a search."""

    ids: list[int]
    """Token ids, without start and end."""
    logprob: float
    """The model's own ln P(ids, end | source), or ln P(ids | source) if there is no end."""
    score: float
    """What hypotheses are ranked by: `logprob` over the length penalty.

    In a beam search the penalties of rules and the diversity of groups are taken from it before.
    """
    ended: bool
    """False if the length limit cut it, or the rules let nothing follow."""


Searching = Generator[Tensor, Tensor, list[list[Hypothesis]]]
"""A search at work: it gives the tokens just written, `r`, is sent the logits `r v` of those after
them, and returns the hypotheses of each text."""


@dataclass(frozen=True)
class LengthPenalty(ABC):
    """Abstract. What log-probabilities are divided by; it must not fall as texts get longer.

    Raises:
        ValueError: `alpha` is negative.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ValueError(f"length_penalty must be 0 or more, got {self.alpha}")

    @abstractmethod
    def __call__(self, tokens: int) -> float:
        """For a text of so many tokens, the end included."""


@final
class Shifted(LengthPenalty):
    """((5 + |Y|) / 6)^alpha (Wu et al. 2016, eq. 14)."""

    def __call__(self, tokens: int) -> float:
        """For a text of so many tokens, the end included."""
        return length_penalty(tokens, self.alpha)


@final
class Power(LengthPenalty):
    """|Y|^alpha: the mean of the tokens' log-probabilities with 1, as in fairseq, transformers."""

    def __call__(self, tokens: int) -> float:
        """For a text of so many tokens, the end included."""
        return tokens**self.alpha


@final
@dataclass(frozen=True)
class Groups:
    """A beam in `count` parts, each of which avoids the tokens of those before it.

    A token is less likely by `diversity` for each hypothesis of an earlier group that goes on with
    it at the same step: Hamming diversity (Vijayakumar et al. 2018, "Diverse beam search", section
    4; the strength lambda is best from 0.2 to 0.8).

    Raises:
        ValueError: there is no group, or nothing that would make them differ.
    """

    count: int = 1
    diversity: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"groups must be 1 or more, got {self.count}")
        if not self.diversity > 0:
            raise ValueError(f"diversity must be over 0, got {self.diversity}")


@dataclass(frozen=True)
class SearchOptions:
    """How far and how wide to search."""

    beam: int = 4
    """Hypotheses kept at every step; 1 is greedy search."""
    length_penalty: float | LengthPenalty = 0.6
    """A number is alpha of `Shifted`; 0 is none."""
    max_length: int | None = None
    """Tokens with the end; None: the source's length + 50 (Vaswani et al. 2017, section 6.1)."""
    n_best: int = 1
    patience: float | None = None
    """A text is done when so many times the beam have ended (Kasai et al. 2022, "A call for clarity
    in beam search", section 3); None: when nothing that still grows can enter the n best."""
    strict_ends: bool = False
    """Whether a hypothesis ends only among the `beam` best of a step, as in fairseq, transformers.

    Otherwise it ends wherever room was made for it, as in tensor2tensor.
    """
    groups: Groups = Groups()
    """With several, the n best are the best of each group, then the second of each, and so on."""
    rules: Rules = NO_RULES
    """They change logits where one text is written, log-probabilities where a beam is searched."""
    stop: tuple[str, ...] = ()
    """Strings before which the text ends."""

    def __post_init__(self) -> None:
        check_stop(self.stop)
        if self.beam % self.groups.count:
            raise ValueError(f"beam {self.beam} is no multiple of groups {self.groups.count}")
        if not 1 <= self.n_best <= self.beam:
            raise ValueError(f"n_best {self.n_best} must lie between 1 and the beam, {self.beam}")
        if self.patience is not None and not self.patience * self.beam >= self.n_best:
            raise ValueError(
                f"patience {self.patience} waits for {self.patience * self.beam:g} hypotheses of "
                f"a beam of {self.beam}, but n_best is {self.n_best}: raise patience"
            )
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length must be 1 or more, got {self.max_length}")
        if not isinstance(self.length_penalty, LengthPenalty):
            Shifted(self.length_penalty)  # refuses what is out of range

    @property
    def penalty(self) -> LengthPenalty:
        """The length penalty as a part."""
        given = self.length_penalty
        return given if isinstance(given, LengthPenalty) else Shifted(given)

    def limit(self, source_tokens: int) -> int:
        """Tokens an output may have, the end included."""
        return limit_of(self.max_length, source_tokens)
