"""Greedy search: the likeliest token at every step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sublayer.generation.decoding import Decoding
from sublayer.generation.hypothesis import Hypothesis, LengthPenalty
from sublayer.generation.stopping import Stops
from sublayer.generation.walk import collect, walk


def likeliest(logits: Tensor, rows: Sequence[int]) -> Tensor:
    """Logits `r v` -> tokens `r`."""
    return logits.argmax(-1)


def greedy(
    decoding: Decoding, limits: Sequence[int], stops: Stops, penalty: LengthPenalty
) -> list[list[Hypothesis]]:
    """One hypothesis a row; each row has its own limit, in tokens with the end."""
    return collect(walk(decoding, likeliest, limits, stops), len(limits), penalty)
