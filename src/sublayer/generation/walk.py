"""One text a row, token by token: the loop that greedy search and sampling share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sublayer.generation.batches import in_place
from sublayer.generation.decoding import Decoding
from sublayer.generation.greedy import Chosen
from sublayer.generation.hypothesis import Hypothesis, LengthPenalty, Searching
from sublayer.generation.logits import NEVER, NO_RULES, Past, Rules
from sublayer.generation.numbers import check_numbers
from sublayer.generation.stopping import Stops

Choose = Callable[[Tensor, Tensor, Sequence[int]], Chosen]
"""The model's logits `r v`, what is allowed of them, and the numbers of their rows."""

Watch = Callable[[int, int], bool]
"""Row and the token it has just written -> whether the row is to end with it."""


class Written(NamedTuple):
    """A token that a row has just written."""

    row: int
    token: int
    logprob: float
    """The model's own, before anything was ruled out, scaled or cut."""
    is_end: bool
    """Whether it is an end token."""
    is_last: bool
    """Whether it ends the row without being an end token: the row was watched."""


class _Alive:
    """The rows that still write: which they are, and the next logits `r v` of each."""

    def __init__(
        self, decoding: Decoding, n_rows: int, rules: Rules, prompts: Sequence[Sequence[int]]
    ) -> None:
        self.decoding, self.rules = decoding, rules
        self.rows, self.logits = list(range(n_rows)), decoding.start().float()
        self.past = Past.of(prompts or [[]] * n_rows, self.logits.device)

    def allowed(self, never: Tensor) -> Tensor:
        """Logits `r v` of what may be written; rows that may write nothing leave."""
        logits = self.logits.index_fill(1, never, NEVER)
        if self.rules:
            logits = self.rules(logits, self.past)
            going = (logits > NEVER).any(1).nonzero().squeeze(1)
            if len(going) < len(self.rows):
                self._keep(going)
                self.logits, logits = self.logits[going], logits[going]
        return logits

    def go_on(self, tokens: Tensor, going: list[int]) -> Tensor:
        """Those at these places go on; the token of each, `r`."""
        if self.rules:
            self.past = self.past.then(tokens)
        if len(going) < len(self.rows):
            index = torch.tensor(going, device=tokens.device)
            self._keep(index)
            tokens = tokens[index]
        return tokens

    def _keep(self, index: Tensor) -> None:
        self.decoding.reorder(index)
        self.rows = [self.rows[i] for i in index.tolist()]
        self.past = self.past.take(index)


Walking = Generator[tuple[list[Written], Tensor], Tensor, None]
"""Gives what was written and the tokens to go on with, `r`; is sent the logits after them, `r v`.

There are no tokens when all rows have ended.
"""


def walking(
    decoding: Decoding,
    choose: Choose,
    limits: Sequence[int],
    stops: Stops,
    rules: Rules = NO_RULES,
    prompts: Sequence[Sequence[int]] = (),
    watch: Watch = lambda row, token: False,
) -> Walking:
    """What the rows write at each step; `rules` see `prompts` too, if there are any.

    Each row has its own limit (tokens with the end). Rows that have ended leave the batch, and so
    do those that may write nothing more.
    """
    if not limits:
        return
    alive = _Alive(decoding, len(limits), rules, prompts)
    never = torch.tensor(stops.never, dtype=torch.long, device=alive.logits.device)
    for length in range(1, max(limits) + 1):
        allowed = alive.allowed(never)
        if not alive.rows:
            return
        tokens, logprobs = choose(alive.logits, allowed, alive.rows)
        chosen = logprobs.tolist()
        check_numbers(chosen)
        written, going = [], []
        for i, (row, token, logprob) in enumerate(
            zip(alive.rows, tokens.tolist(), chosen, strict=True)
        ):
            is_end = token in stops.ends
            is_last = not is_end and watch(row, token)
            written.append(Written(row, token, logprob, is_end, is_last))
            if not (is_end or is_last or length >= limits[row]):
                going.append(i)
        if not going:
            yield written, tokens[:0]
            return
        alive.logits = (yield written, alive.go_on(tokens, in_place(going))).float()


@torch.inference_mode()
def walk(decoding: Decoding, steps: Walking) -> Iterator[list[Written]]:
    """What the rows write at each step, where nothing else shares their `decoding`."""
    try:
        written, tokens = next(steps)
        while True:
            yield written
            if not len(tokens):
                return
            written, tokens = steps.send(decoding.step(tokens))
    except StopIteration:
        return


def collect(steps: Walking, n_rows: int, penalty: LengthPenalty) -> Searching:
    """The one hypothesis of each row, when all have ended."""
    rows: list[list[Written]] = [[] for _ in range(n_rows)]
    try:
        step, tokens = next(steps)
        while True:
            for written in step:
                rows[written.row].append(written)
            if not len(tokens):
                break
            step, tokens = steps.send((yield tokens))
    except StopIteration:
        pass  # rules let no row go on
    return [[_hypothesis(row, penalty)] for row in rows]


def _hypothesis(row: list[Written], penalty: LengthPenalty) -> Hypothesis:
    logprob = sum((written.logprob for written in row), 0.0)
    ids = [written.token for written in row if not written.is_end]
    ended = any(written.is_end or written.is_last for written in row[-1:])
    return Hypothesis(ids, logprob, logprob / penalty(max(len(row), 1)), ended)
