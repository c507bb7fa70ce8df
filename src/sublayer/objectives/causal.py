"""Language modelling: each token from those before it."""

from __future__ import annotations

from typing import final

from sublayer.data.batch import Labelled
from sublayer.models.base import LanguageModel
from sublayer.objectives.base import Loss, Objective
from sublayer.objectives.losses import smoothed_cross_entropy


@final
class Causal(Objective):
    """-log P(x_t | x_<t) (Radford et al. 2018, eq. 1), with label smoothing if asked for.

    A batch's `labels` are its `inputs` one token on, `b n`.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: LanguageModel, batch: Labelled) -> Loss:
        """The sums over the batch's tokens."""
        hidden = model.hidden(batch.inputs, batch.valid).flatten(0, 1)  # t m
        total, nll = smoothed_cross_entropy(
            hidden,
            model.head.weight,
            batch.labels.flatten(),
            self.label_smoothing,
            model.head.bias,
        )
        return Loss(total, {"nll": nll.detach()}, batch.tokens)
