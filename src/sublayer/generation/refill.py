"""Many texts through one model: where some have ended, others begin beside those still written.

Continuous batching (Yu et al. 2022, "Orca", section 4.1). Texts that begin together are a cohort:
they are searched by themselves, while the model reads the tokens of all cohorts in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from sublayer.generation.batches import Waiting, in_place
from sublayer.generation.decoding import Decoding
from sublayer.generation.hypothesis import Hypothesis, Searching


@final
class Share(Decoding):
    """What a search sees of a decoding that it shares with others.

    Until it is shared, it is the decoding itself. Then it only notes what is to become of its rows,
    for all are moved and stepped together.
    """

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        self.places: Tensor | None = None
        """Where its texts stand among all, once it is shared."""
        self._index: Tensor | None = None

    def start(self) -> Tensor:
        """Logits `b v` of each text's first token."""
        return self.decoding.start()

    def step(self, tokens: Tensor, order: Tensor | None = None) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them, while not shared."""
        assert self.places is None, "what is shared is stepped by all"
        return self.decoding.step(tokens, order)

    def reorder(self, index: Tensor, width: int = 1) -> None:
        """Row i becomes what row `index[i]` was; from now on each text has `width` rows."""
        if self.places is None:
            self.decoding.reorder(index, width)
        else:
            self._index = index if self._index is None else self._index[index]

    def absorb(self, other: Decoding) -> None:
        """Not asked of one among others."""
        raise AssertionError("texts go behind all, not behind a share")

    @property
    def is_to_move(self) -> bool:
        """Whether anything was noted."""
        return self._index is not None

    def moved(self, width: int) -> Tensor:
        """Where its rows stood among all before what was noted, `b w`; it is noted no longer."""
        assert self.places is not None
        rows = self.places.unsqueeze(1) * width + torch.arange(width, device=self.places.device)
        if self._index is not None:
            rows, self._index = rows.flatten()[self._index].view(-1, width), None
        return rows


@final
class Cohort:
    """Texts that began together: their numbers, their share of the decoding, their search."""

    def __init__(self, numbers: Sequence[int], share: Share, steps: Searching) -> None:
        self.numbers, self.share, self.steps = numbers, share, steps
        self.tokens: Tensor | None = None
        """What was written last, `r`."""
        self.found: list[list[Hypothesis]] = []
        """Of each text, when all have ended."""

    @property
    def n_rows(self) -> int:
        """Of those that are still written."""
        return 0 if self.tokens is None else len(self.tokens)

    def begin(self) -> bool:
        """Write the first tokens; false if that has ended it."""
        return self._advance(lambda: next(self.steps))

    def go_on(self, logits: Tensor) -> bool:
        """By logits `r v`; false if that has ended it."""
        return self._advance(lambda: self.steps.send(logits))

    def _advance(self, step: Callable[[], Tensor]) -> bool:
        try:
            self.tokens = step()
        except StopIteration as end:
            self.found = end.value
            return False
        return True


@final
class _Shared:
    """The one decoding of all cohorts, whose texts have `width` rows each."""

    def __init__(self, width: int) -> None:
        self.width, self.n_texts = width, 0
        self.decoding: Decoding | None = None

    def join(self, cohort: Cohort) -> None:
        """One that has begun."""
        assert cohort.tokens is not None
        n, share, first = cohort.n_rows // self.width, cohort.share, self.n_texts
        if self.decoding is None:
            self.decoding = share.decoding
        else:
            self.decoding.absorb(share.decoding)
        share.places = torch.arange(first, first + n, device=cohort.tokens.device)
        self.n_texts += n

    def settle(self, cohorts: Sequence[Cohort]) -> None:
        """What the cohorts noted is done to their rows; those of others, and of ended texts, go."""
        assert self.decoding is not None
        n_left = sum(cohort.n_rows for cohort in cohorts) // self.width
        if n_left == self.n_texts and not any(cohort.share.is_to_move for cohort in cohorts):
            return
        moved = torch.cat([cohort.share.moved(self.width) for cohort in cohorts])  # t w
        old = (moved[:, 0] // self.width).tolist()
        order = in_place(old)  # which old place comes to each new one
        new = {place: i for i, place in enumerate(order)}
        places = torch.tensor([new[place] for place in old], device=moved.device)
        index = torch.empty_like(moved)
        index[places] = moved
        self.decoding.reorder(index.flatten(), self.width)
        self.n_texts = len(order)
        counts = [cohort.n_rows // self.width for cohort in cohorts]
        for cohort, own in zip(cohorts, places.split(counts), strict=True):
            cohort.share.places = own

    def step(self, cohorts: Sequence[Cohort]) -> list[Tensor]:
        """The logits `r v` of each cohort, all from one step of the model."""
        assert self.decoding is not None
        self.settle(cohorts)
        tokens = torch.cat([cohort.tokens for cohort in cohorts if cohort.tokens is not None])
        places = torch.cat(
            [cohort.share.places for cohort in cohorts if cohort.share.places is not None]
        )
        ordered = torch.empty_like(tokens).view(-1, self.width)
        ordered[places] = tokens.view(-1, self.width)
        rows = places.unsqueeze(1) * self.width + torch.arange(self.width, device=places.device)
        logits = self.decoding.step(ordered.flatten(), rows.flatten())
        return list(logits.split([cohort.n_rows for cohort in cohorts]))


def refilled(
    waiting: Waiting, begin: Callable[[list[int]], Cohort], width: int
) -> Iterator[Cohort]:
    """The cohorts of all texts as they end, with what was found; `begin` starts those given to it.

    Each text has `width` rows from its first token on.
    """
    shared, cohorts = _Shared(width), list[Cohort]()
    while True:
        while numbers := waiting.take(*_alive(cohorts, waiting, width)):
            cohort = begin(numbers)
            if cohort.begin():
                if cohorts:
                    shared.settle(cohorts)
                else:
                    shared = _Shared(width)
                shared.join(cohort)
                cohorts.append(cohort)
            else:
                yield cohort
        if not cohorts:
            return
        going = []
        for cohort, logits in zip(cohorts, shared.step(cohorts), strict=True):
            if cohort.go_on(logits):
                going.append(cohort)
            else:
                yield cohort
        cohorts = going


def _alive(cohorts: Sequence[Cohort], waiting: Waiting, width: int) -> tuple[int, int]:
    """How many texts are still written, and the length of the longest they began with."""
    lengths = (waiting.lengths[number] for cohort in cohorts for number in cohort.numbers)
    return sum(cohort.n_rows for cohort in cohorts) // width, max(lengths, default=0)
