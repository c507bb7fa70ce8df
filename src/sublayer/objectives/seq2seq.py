"""Teacher forcing: predict each target token from those before it and the source."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from sublayer.data.batch import Batch
from sublayer.models.base import EncoderDecoder
from sublayer.objectives.base import Loss, Objective
from sublayer.objectives.losses import smoothed_cross_entropy


@final
class Seq2Seq(Objective):
    """Smoothed cross-entropy of the shifted target (Vaswani et al. 2017, section 5.4).

    R-Drop (Wu et al. 2021, arXiv:2106.14448, eqs. 2 to 4) sends each batch through two dropout
    masks and adds `r_drop` times (KL(a || b) + KL(b || a)) / 2 of the two predictions to the mean
    loss of both passes, where the paper has their sum, so that the loss stays comparable.
    """

    def __init__(self, label_smoothing: float = 0.1, r_drop: float = 0.0) -> None:
        self.label_smoothing, self.r_drop = label_smoothing, r_drop

    def __call__(self, model: EncoderDecoder, batch: Batch) -> Loss:
        """The sums over the batch's real target tokens."""
        if self.r_drop and model.training:
            return self._twice(model, batch)
        hidden = model.hidden(batch.source, batch.target_in, batch.source_valid)
        hidden = hidden[batch.target_valid]  # t m
        targets = batch.target_out[batch.target_valid]
        total, nll = smoothed_cross_entropy(
            hidden, model.head.weight, targets, self.label_smoothing, model.head.bias
        )
        return Loss(total, {"nll": nll.detach()}, batch.tokens)

    def _twice(self, model: EncoderDecoder, batch: Batch) -> Loss:
        source, target_in = (torch.cat([ids, ids]) for ids in (batch.source, batch.target_in))
        source_valid = None if batch.source_valid is None else torch.cat([batch.source_valid] * 2)
        hidden = model.hidden(source, target_in, source_valid)
        kept = torch.cat([batch.target_valid] * 2)
        logp = F.log_softmax(model.head(hidden[kept]), -1, dtype=torch.float32)  # 2t v
        targets = batch.target_out[batch.target_valid].repeat(2)
        nll = F.nll_loss(logp, targets, reduction="sum") / 2
        smooth = -logp.mean(-1).sum() / 2
        total = (1 - self.label_smoothing) * nll + self.label_smoothing * smooth
        divergence = _symmetric_kl(*logp.chunk(2))
        return Loss(
            total + self.r_drop * divergence,
            {"nll": nll.detach(), "divergence": divergence.detach()},
            batch.tokens,
        )


def _symmetric_kl(a: Tensor, b: Tensor) -> Tensor:
    """(KL(a || b) + KL(b || a)) / 2 of log-probabilities, summed."""
    return ((a.exp() - b.exp()) * (a - b)).sum() / 2
