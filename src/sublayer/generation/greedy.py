"""Greedy search: the likeliest token at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sublayer import loops


class Chosen(NamedTuple):
    """A token of each row, and its log-probability: the model's own, whatever was ruled out."""

    tokens: Tensor
    logprobs: Tensor


def chosen(logits: Tensor, tokens: Tensor) -> Chosen:
    """Tokens `r` with their log-probabilities by logits `r v`."""
    return Chosen(tokens, logits.log_softmax(1).gather(1, tokens.unsqueeze(1)).squeeze(1))


def likeliest(logits: Tensor, allowed: Tensor, rows: Sequence[int]) -> Chosen:
    """The largest of what is `allowed` of the logits, `r v`."""
    if loops.are_for(logits):
        from sublayer.loops import choose

        given = (tensor.contiguous().numpy() for tensor in (logits, allowed))
        return Chosen(*map(torch.from_numpy, choose.likeliest(*given)))
    return chosen(logits, allowed.argmax(-1))
