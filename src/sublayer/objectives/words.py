"""Words told from the words around them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sublayer.data.windows import Windows
from sublayer.layers.noise import NegativeSampling
from sublayer.layers.precision import widened
from sublayer.models.vectors import WordPredictor
from sublayer.objectives.base import Loss, Objective


@final
class SkipGram(Objective):
    """Each word in a window told from the word in its middle (Mikolov et al. 2013b, eq. 1).

    `negatives` are how many draws of noise a right word is told from, where the model has noise.
    """

    def __init__(self, negatives: int) -> None:
        self.negatives = negatives

    def __call__(self, model: WordPredictor, batch: Windows) -> Loss:
        """The sums over pairs of a word and one in its window."""
        x = model.input(batch.centres)
        return _told(model, x, batch.around, batch.near, batch, self.negatives)


@final
class Cbow(Objective):
    """Each word told from the mean of those in its window (Mikolov et al. 2013a, 3.1)."""

    def __init__(self, negatives: int) -> None:
        self.negatives = negatives

    def __call__(self, model: WordPredictor, batch: Windows) -> Loss:
        """The sums over words that have others around."""
        around = widened(model.input(batch.around))
        near = batch.near.to(around.dtype)
        count = near.sum(-1, keepdim=True)  # g t 1
        x = (near / count.clamp(min=1)) @ around
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device) & (count > 0)
        return _told(model, x, batch.centres, itself, batch, self.negatives)


def _told(
    model: WordPredictor, x: Tensor, ids: Tensor, near: Tensor, batch: Windows, negatives: int
) -> Loss:
    output = model.output
    if isinstance(output, NegativeSampling):
        total = output.loss(x, ids, near, batch.noise, negatives)
    else:
        total = output.loss(x, ids, near)
    return Loss(total, {"nll": total.detach()}, batch.tokens)
