"""Vectors whose products say how often words stand together."""

from __future__ import annotations

from typing import final

from sublayer.data.cooccurrence import Counted
from sublayer.models.vectors import CountPredictor
from sublayer.objectives.base import Loss, Objective


@final
class Glove(Objective):
    """f(x) (w . w~ + b + b~ - log x)^2, f(x) = min(1, x / x_max)^alpha.

    Pennington et al. 2014, eq. 8 and 9. `nll` is half of it, that of a normal distribution of
    variance 1 / f less a constant.
    """

    def __init__(self, x_max: float, alpha: float) -> None:
        self.x_max, self.alpha = x_max, alpha

    def __call__(self, model: CountPredictor, batch: Counted) -> Loss:
        """The sums over entries."""
        weight = (batch.counts / self.x_max).clamp(max=1) ** self.alpha
        missed = model.log_counts(batch.words, batch.around) - batch.counts.log()
        total = (weight * missed**2).sum()
        return Loss(total, {"nll": total.detach() / 2}, batch.tokens)
