"""Cross-entropy with label smoothing, joined with the pre-softmax product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sublayer.layers.precision import product_dtype
from sublayer.layers.product import gathered, times

CHUNK = 2**22
"""Logits made by one matrix product: enough rows to keep it efficient."""
ROWS = 512
"""Rows of a product at least: each chunk adds to the gradient of the whole matrix, `v m`."""
BLOCK = 2**19
"""Logits turned into probabilities at once: 2 MiB in float32, about a CPU core's cache."""


def smoothed_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    smoothing: float,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sums over tokens of the smoothed loss and of the negative log-likelihood.

    Label smoothing is that of Szegedy et al. 2016, section 7.
    With q = (1 - smoothing) one_hot + smoothing / v, the loss is -sum_v q log softmax(hidden W^T).
    `hidden` is `t m`, `weight` is `v m`, `targets` is `t`, `bias` is `v`. The t x v logits never
    exist whole: chunk by chunk they turn into their own gradient, which costs the matrix products
    of a backward pass and none of its memory.
    """
    if bias is not None:  # one more column, met by ones
        hidden = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], 1)
        weight = torch.cat([weight, bias.unsqueeze(1)], 1)
    needs_grad = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    total, nll = _Fused.apply(hidden, weight, targets, smoothing, needs_grad)  # type: ignore[no-untyped-call]
    return total, nll


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        smoothing: float,
        needs_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype = product_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            total, nll, *gradients = _forward(
                hidden.to(dtype), weight.to(dtype), targets, smoothing, needs_grad
            )
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grad_total.to(d_hidden.dtype), d_weight * grad_total, None, None, None


def _forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float, needs_grad: bool
) -> tuple[Tensor, ...]:
    """The two sums, and the first's gradients for `hidden` and `weight` (empty if not needed)."""
    v, uniform = weight.shape[0], smoothing / weight.shape[0]
    wide = torch.promote_types(hidden.dtype, torch.float32)
    d_hidden, d_weight = hidden.new_empty(0), weight.new_empty(0)
    if needs_grad:
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight, dtype=wide)
    nll, lse = torch.zeros((2, *targets.shape), dtype=wide, device=hidden.device)
    for rows in _spans(len(hidden), max(CHUNK // v, ROWS)):
        h, t = hidden[rows], targets[rows]
        logits = times(h, weight)
        for block in _spans(len(h), BLOCK // v):
            _block(logits[block], t[block], 1 - smoothing, (nll[rows][block], lse[rows][block]))
        if needs_grad:
            d_hidden[rows] = times(logits, weight.T)
            d_weight += gathered(logits, h)
    if not smoothing:
        return nll.sum(), nll.sum(), d_hidden, d_weight
    # the smoothing's uniform part, for all logits at once
    column_sum, row_sum = weight.sum(0, dtype=wide), hidden.sum(0, dtype=wide)
    logit_sum = torch.dot(column_sum, row_sum)
    total = (1 - smoothing) * nll.sum() + smoothing * lse.sum() - uniform * logit_sum
    if needs_grad:
        d_hidden -= (uniform * column_sum).to(d_hidden.dtype)
        d_weight -= uniform * row_sum
    return total, nll.sum(), d_hidden, d_weight


def _spans(n: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _block(logits: Tensor, targets: Tensor, confidence: float, out: tuple[Tensor, Tensor]) -> None:
    """Logits `t v` become, in place, softmax minus `confidence` at the target.

    The negative log-likelihood and the log-sum-exp go to `out`. The largest probability is at least
    1 / v, so the log-sum-exp comes from it without fear of an underflow.
    """
    targets = targets.unsqueeze(1)
    nll, lse = out
    at_target, largest = logits.gather(1, targets), logits.amax(1)
    p = torch.softmax(logits, -1, dtype=nll.dtype)
    torch.sub(largest, p.amax(1).log_(), out=lse)
    torch.sub(lse, at_target.squeeze(1), out=nll)
    p.scatter_add_(1, targets, p.new_full(targets.shape, -confidence))
    logits.copy_(p)
