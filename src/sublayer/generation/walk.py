"""One text a row, token by token: the loop that greedy search and sampling share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sublayer.generation.decoding import Decoding
from sublayer.generation.hypothesis import Hypothesis, LengthPenalty
from sublayer.generation.stopping import Stops

Choose = Callable[[Tensor, Sequence[int]], Tensor]
"""Logits `r v` and the numbers of their rows -> the token of each, `r`."""

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
    is_cut: bool
    """Whether the length limit makes it the row's last, and nothing else does."""


@torch.inference_mode()
def walk(
    decoding: Decoding,
    choose: Choose,
    limits: Sequence[int],
    stops: Stops,
    watch: Watch = lambda row, token: False,
) -> Iterator[list[Written]]:
    """What the rows write at each step.

    Each row has its own limit (tokens with the end). Rows that have ended leave the batch.
    """
    if not limits:
        return
    rows, logits = list(range(len(limits))), decoding.start()
    never = torch.tensor(stops.never, dtype=torch.long, device=logits.device)
    for length in range(1, max(limits) + 1):
        logits = logits.float()
        tokens = choose(logits.index_fill(1, never, float("-inf")), rows)
        chosen = logits.gather(1, tokens.unsqueeze(1)).squeeze(1) - logits.logsumexp(1)
        written, going = [], []
        for i, (row, token, logprob) in enumerate(
            zip(rows, tokens.tolist(), chosen.tolist(), strict=True)
        ):
            is_end = token in stops.ends
            is_over = not is_end and watch(row, token)
            is_cut = not is_end and not is_over and length >= limits[row]
            written.append(Written(row, token, logprob, is_end, is_cut))
            if not (is_end or is_over or is_cut):
                going.append(i)
        yield written
        if not going:
            return
        if len(going) < len(rows):
            index = torch.tensor(going, device=tokens.device)
            decoding.reorder(index)
            rows, tokens = [rows[i] for i in going], tokens[index]
        logits = decoding.step(tokens)


def collect(
    steps: Iterable[list[Written]], n_rows: int, penalty: LengthPenalty
) -> list[list[Hypothesis]]:
    """The one hypothesis of each row, when all have ended."""
    rows: list[list[Written]] = [[] for _ in range(n_rows)]
    for step in steps:
        for written in step:
            rows[written.row].append(written)
    return [[_hypothesis(row, penalty)] for row in rows]


def _hypothesis(row: list[Written], penalty: LengthPenalty) -> Hypothesis:
    logprob = sum(written.logprob for written in row)
    ids = [written.token for written in row if not written.is_end]
    return Hypothesis(ids, logprob, logprob / penalty(len(row)), not row[-1].is_cut)
