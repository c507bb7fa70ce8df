"""One label for a token, a text or an image."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.data.batch import Labelled
from sublayer.objectives.base import Loss, Objective

UNTOLD = -1
"""The label of a token that is not asked about."""


def hidden_of(model: Any, batch: Labelled) -> Tensor:
    """The model's output before its head, `b n m`; segments are for models that know two texts."""
    if batch.segments is None or model.n_segments < 2:
        return model.hidden(batch.inputs, batch.valid)
    return model.hidden(batch.inputs, batch.valid, batch.segments)


def output_of(model: Any, batch: Labelled) -> Tensor:
    """What the model says of the batch's inputs."""
    if batch.inputs.ndim == 4:  # images have no padding
        return model(batch.inputs)
    if batch.segments is None or model.n_segments < 2:
        return model(batch.inputs, batch.valid)
    return model(batch.inputs, batch.valid, batch.segments)


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Sums of the smoothed loss and of the negative log-likelihood: `t c`, `t`."""
    logp = F.log_softmax(logits, -1, dtype=torch.float32)
    nll = F.nll_loss(logp, labels, reduction="sum")
    if not smoothing:
        return nll, nll
    return (1 - smoothing) * nll - smoothing * logp.mean(-1).sum(), nll


@final
class HiddenTokens(Objective):
    """Cross-entropy at the tokens that were hidden (Devlin et al. 2019, section 3.1).

    A batch's `labels` are `b n`, `UNTOLD` where nothing is asked. Where it has a `pair` label, the
    mean cross-entropy of the pair head is added to that of the tokens (section 3.1, appendix A.2).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: Any, batch: Labelled) -> Loss:
        """The sums over the labelled tokens; the pair's part weighs as a mean over rows."""
        hidden, told = hidden_of(model, batch), batch.labels != UNTOLD
        logits, labels = model.head(hidden[told]), batch.labels[told]
        total, nll = _cross_entropy(logits, labels, self.label_smoothing)
        parts = {"nll": nll.detach(), "accuracy": (logits.argmax(-1) == labels).sum()}
        if batch.pair is None:
            return Loss(total, parts, batch.tokens)
        of_pairs, rows = model.pair_logits(hidden), len(batch.pair)
        pair, _ = _cross_entropy(of_pairs, batch.pair, 0.0)
        parts |= {
            "pair_nll": pair.detach(),
            "pair_accuracy": (of_pairs.argmax(-1) == batch.pair).sum(),
        }
        counts = {"pair_nll": rows, "pair_accuracy": rows}
        return Loss(total + pair * (batch.tokens / rows), parts, batch.tokens, counts)


@final
class TagLabels(Objective):
    """Cross-entropy at the tokens that have a label, of a model that labels every token."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: nn.Module, batch: Labelled) -> Loss:
        """The sums over the labelled tokens."""
        told = batch.labels != UNTOLD
        logits, labels = output_of(model, batch)[told], batch.labels[told]
        total, nll = _cross_entropy(logits, labels, self.label_smoothing)
        right = (logits.argmax(-1) == labels).sum()
        return Loss(total, {"nll": nll.detach(), "accuracy": right}, batch.tokens)


@final
class OneLabel(Objective):
    """Cross-entropy of a row's one label; a batch's `labels` are `b`."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, model: nn.Module, batch: Labelled) -> Loss:
        """The sums over rows."""
        logits = output_of(model, batch)  # b c
        total, nll = _cross_entropy(logits, batch.labels, self.label_smoothing)
        right = (logits.argmax(-1) == batch.labels).sum()
        return Loss(total, {"nll": nll.detach(), "accuracy": right}, batch.tokens)


@final
class SeveralLabels(Objective):
    """Binary cross-entropy of each label, the mean over labels; `labels` are `b c`, 0 or 1."""

    def __call__(self, model: nn.Module, batch: Labelled) -> Loss:
        """The sums over rows."""
        logits = output_of(model, batch).float()
        total = F.binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
        total = total / logits.shape[-1]
        return Loss(total, {"nll": total.detach()}, batch.tokens)


@final
class Number(Objective):
    """Squared error of a row's one number; `labels` are `b`, float."""

    def __call__(self, model: nn.Module, batch: Labelled) -> Loss:
        """The sums over rows; `nll` is a normal distribution's of variance 1, less a constant."""
        error = output_of(model, batch).squeeze(-1).float() - batch.labels
        total = error.square().sum()
        return Loss(total, {"nll": (total / 2).detach()}, batch.tokens)


@final
class Answer(Objective):
    """Where an answer begins and ends: the mean of two cross-entropies over a row's tokens.

    Devlin et al. 2019, section 4.2. A batch's `labels` are `b 2`; the first token is where a text
    without an answer points to (section 4.3).
    """

    def __call__(self, model: nn.Module, batch: Labelled) -> Loss:
        """The sums over rows."""
        logits = output_of(model, batch).float()  # b n 2
        if batch.valid is not None:
            logits = logits.masked_fill(~batch.valid.unsqueeze(-1), torch.finfo(logits.dtype).min)
        total = F.cross_entropy(logits, batch.labels, reduction="sum") / 2  # over n, b 2 places
        right = (logits.argmax(1) == batch.labels).all(-1).sum()
        return Loss(total, {"nll": total.detach(), "accuracy": right}, batch.tokens)
