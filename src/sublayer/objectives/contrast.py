"""Vectors that are near for what belongs together."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from sublayer.data.batch import Pairs
from sublayer.objectives.base import Loss, Objective

Pooling = Literal["mean", "first"]


def taken(hidden: Tensor, valid: Tensor | None, pooling: Pooling) -> Tensor:
    """`b n m` -> `b m` in float32: the mean over real tokens, or the first token's."""
    if pooling == "first":
        return hidden[:, 0].float()
    if valid is None:
        return hidden.mean(1).float()
    weights = valid.unsqueeze(-1).to(hidden.dtype)
    return ((hidden * weights).sum(1) / weights.sum(1)).float()


def pooled(hidden: Tensor, valid: Tensor | None, pooling: Pooling) -> Tensor:
    """As `taken`, of length 1."""
    return F.normalize(taken(hidden, valid, pooling), dim=-1)


@final
class Contrast(Objective):
    """InfoNCE over the batch, from sources to targets and back (van den Oord et al. 2018, eq. 4).

    The score of two texts is their cosine over `temperature`. Sources that are alike, and targets
    that are, are no wrong answers for each other (their ids say so).
    """

    def __init__(self, temperature: float, pooling: Pooling) -> None:
        self.temperature, self.pooling = temperature, pooling

    def __call__(self, model: Any, batch: Pairs) -> Loss:
        """The sums over pairs."""
        a, b = (
            pooled(model.hidden(side.inputs, side.valid), side.valid, self.pooling)
            for side in (batch.source, batch.target)
        )
        with torch.autocast(a.device.type, enabled=False):  # small differences decide
            scores = a @ b.T / self.temperature  # b b
        scores = scores.masked_fill(batch.alike, torch.finfo(scores.dtype).min)
        right = torch.arange(len(scores), device=scores.device)
        forth = F.cross_entropy(scores, right, reduction="sum")
        back = F.cross_entropy(scores.T, right, reduction="sum")
        total = (forth + back) / 2
        found = (scores.argmax(-1) == right).sum()
        return Loss(total, {"nll": total.detach(), "accuracy": found}, batch.tokens)
