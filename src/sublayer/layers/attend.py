"""Heads in, heads out: who gets how much of whom."""

from __future__ import annotations

from contextlib import nullcontext
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.dropout import Dropout
from sublayer.layers.frame import Frame
from sublayer.layers.precision import product_dtype
from sublayer.layers.score import ScaledDot, Score
from sublayer.layers.softmax import softmax
from sublayer.layers.tap import Tap


class Attend(nn.Module):
    """Abstract. Queries `b h q d`, keys and values `b g k d` -> heads `b h q d`."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
        """The heads, each a mixture of values."""
        raise NotImplementedError


SHORT, LONG = 32, 512
"""Keys up to which a CPU is faster with attention written out than with its fused kernel.

In float32, where that is so in training alone, and in bfloat16.
"""


FEW, MANY = 16, 128
"""Queries of a row up to which, and heads of a batch from which on, decoding on a CPU is faster
by two products than by the fused kernel."""


def mix(scores: Tensor, frame: Frame) -> Tensor:
    """Softmax over the allowed keys, `b h q k`; a query that may see nobody gets zeros, not NaN.

    The scores are written over: they are the largest tensor of an attention, and a pass over them
    is what it waits for.
    """
    veil, blind = frame.veil(scores.dtype), frame.blind()
    weights = softmax(scores if veil is None else scores.add_(veil))
    return weights if blind is None else weights.masked_fill(blind, 0.0)


@final
class Dense(Attend):
    """Every query sees every allowed key (Vaswani et al. 2017, eq. 1), by any `Score`.

    PyTorch's fused kernel does it when the score is a product and nobody listens at the tap
    `weights`; otherwise it is written out. `fused=False` always writes it out.
    """

    def __init__(
        self, score: Score | None = None, dropout: float = 0.0, *, fused: bool = True
    ) -> None:
        super().__init__()
        self.score = score if score is not None else ScaledDot()
        self.dropout = Dropout(dropout)
        self.weights = Tap()
        self.fused = fused

    def forward(self, q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
        """The heads, each a mixture of values."""
        if self.fused and not self.weights.heard and not self._is_slow_fused(q, k):
            dot = self.score.as_dot(q, k)
            if dot is not None:
                few = _are_few(q, k)
                return products(dot, v, frame) if few else self._kernel(dot, v, frame)
        return self._written_out(q, k, v, frame)

    def _is_slow_fused(self, q: Tensor, k: Tensor) -> bool:
        """A CPU has no fused kernel with dropout, and slow ones for short sequences."""
        if q.device.type != "cpu" or q.shape[-2] == 1:
            return False
        if self.training and self.dropout.p > 0:
            return True
        if product_dtype(q) == torch.bfloat16:
            return k.shape[-2] <= LONG
        return self.training and torch.is_grad_enabled() and k.shape[-2] <= SHORT

    def _kernel(self, dot: tuple[Tensor, Tensor, float], v: Tensor, frame: Frame) -> Tensor:
        q, k, scale = dot
        dtype = v.dtype
        if q.device.type == "cpu" and dtype == torch.bfloat16:
            # at sentence lengths the CPU kernel is 3 to 9 times faster in float32 than in bfloat16
            q, k, v = q.float(), k.float(), v.float()
        bias, causal = frame.bias(), frame.is_causal
        mask = None if causal and bias is None else _joined(_with_heads(frame.allowed()), bias)
        # entering the context takes as long as the attention of one token
        is_cast = torch.is_autocast_enabled(q.device.type)
        with torch.autocast(q.device.type, enabled=False) if is_cast else nullcontext():
            heads = F.scaled_dot_product_attention(
                q,
                k.to(q.dtype),
                v.to(q.dtype),
                attn_mask=mask if mask is None or mask.dtype == torch.bool else mask.to(q.dtype),
                dropout_p=self.dropout.p if self.training else 0.0,
                is_causal=causal and bias is None,
                scale=scale,
                enable_gqa=q.shape[1] != k.shape[1],
            )
        return heads.to(dtype)

    def _written_out(self, q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
        if q.shape[1] != k.shape[1]:  # each key/value head serves h / g query heads
            k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
        weights = mix(self.score(q, k, frame), frame)
        return self.dropout(self.weights(weights)).to(v.dtype) @ v


def _are_few(q: Tensor, k: Tensor) -> bool:
    """Whether a CPU decodes: few new tokens beside many keys, in float32."""
    n = q.shape[-2]
    if q.device.type != "cpu" or torch.is_grad_enabled() or n > FEW or n == k.shape[-2]:
        return False
    return product_dtype(q) == torch.float32 and (n > 1 or q.shape[0] * q.shape[1] >= MANY)


def products(dot: tuple[Tensor, Tensor, float], v: Tensor, frame: Frame) -> Tensor:
    """Attention by two products; query heads that share a key are queries of one product."""
    q, k, scale = dot
    (b, h, n, _), g = q.shape, k.shape[1]
    scores = (q * scale).reshape(b, g, h // g * n, -1) @ k.mT
    weights = mix(scores.view(b, h, n, -1), frame).view(b, g, h // g * n, -1)
    return (weights @ v).view(b, h, n, -1)


def _with_heads(allowed: Tensor | None) -> Tensor | None:
    """`q k` as it is, `b q k` -> `b 1 q k`."""
    return allowed.unsqueeze(-3) if allowed is not None and allowed.ndim == 3 else allowed


def _joined(allowed: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """Mask and bias as the one tensor a kernel takes: bool, or added to the scores."""
    if bias is None or allowed is None:
        return allowed if bias is None else bias
    return bias.masked_fill(~allowed, float("-inf"))
