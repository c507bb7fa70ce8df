"""Words from those before them and from those behind them."""

from __future__ import annotations

from typing import Any, final

import torch

from sublayer.data.batch import Labelled
from sublayer.objectives.base import Loss, Objective
from sublayer.objectives.losses import smoothed_cross_entropy


@final
class Bidirectional(Objective):
    """-log p(w_k | w_1 ... w_(k-1)) - log p(w_k | w_(k+1) ... w_n), for all words k.

    Peters et al. 2018, section 3.1. The first and last words of a row are its begin and end, each
    of which one direction tells. A batch's `labels` are `b n`, the words' ids.
    """

    def __call__(self, model: Any, batch: Labelled) -> Loss:
        """The sums over words of both directions; `nll` is the mean of the two."""
        hidden = model.hidden(batch.inputs, batch.valid)
        forward, backward = model.directions(hidden)
        real = batch.valid if batch.valid is not None else torch.ones_like(batch.labels).bool()
        has_next = real[:, 1:]  # padding is behind
        head, labels = model.head, batch.labels
        told = (
            (forward[:, :-1][has_next], labels[:, 1:][has_next]),
            (backward[:, 1:][has_next], labels[:, :-1][has_next]),
        )
        total, nll = zip(
            *(smoothed_cross_entropy(h, head.weight, t, 0.0, head.bias) for h, t in told),
            strict=True,
        )
        parts = {"nll": (nll[0] + nll[1]) / 2, "forward_nll": nll[0], "backward_nll": nll[1]}
        return Loss(total[0] + total[1], parts, batch.tokens)
