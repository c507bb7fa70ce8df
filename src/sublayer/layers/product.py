"""Matrix products of training in float32 on a CPU, by the library that is faster here.

PyTorch gives them to MKL, which on processors of other makers than its own reaches less than half
of what oneDNN does; bfloat16 and `nn.LSTM` go by oneDNN anyway. PyTorch has that product as an
operation of its compiler, without gradients, so these are here.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sublayer.layers.turns import gain

FASTER = 1.3
"""By what oneDNN must beat PyTorch's own choice, so that noise does not decide."""
LEAST = 2**22
"""Multiplications of a product from which on: oneDNN writes code for each new shape first."""


def is_heard(module: nn.Module) -> bool:
    """Whether somebody has put a hook on it, so that it must be called as it is."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def is_plain(layer: nn.Module | None) -> TypeGuard[nn.Linear]:
    """Whether a layer is its matrix and nothing else: no kind of its own, nobody listening."""
    return type(layer) is nn.Linear and not is_heard(layer)


def through(layer: nn.Module, x: Tensor) -> Tensor:
    """A linear layer's output, `... o`."""
    return linear(x, layer.weight, layer.bias) if is_plain(layer) else layer(x)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b of `... i` and `o i`, with gradients."""
    if not _goes_by_onednn(x, weight):
        return F.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def times(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b of `... i` and `o i`, of which no gradients are needed."""
    if not _goes_by_onednn(x, weight):
        return F.linear(x, weight, bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return out


def gathered(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of W, `o i`: g^T x of `... o` and `... i`, summed over all rows."""
    grad, x = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
    if not _goes_by_onednn(grad.T, x.T):
        return grad.T @ x
    if grad.shape[1] < x.shape[1]:
        return times(grad.T, x.T)
    return times(x.T, grad.T).T  # for the first factor is copied, and this is the smaller


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return times(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d_x = times(grad, weight.T) if ctx.needs_input_grad[0] else None
        d_weight = gathered(grad, x) if ctx.needs_input_grad[1] else None
        d_bias = grad.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return d_x, d_weight, d_bias


def _goes_by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == torch.float32 == weight.dtype
        and x.device.type == "cpu" == weight.device.type
        and x.numel() * weight.shape[0] >= LEAST
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _onednn_is_faster()
    )


@cache
def _onednn_is_faster() -> bool:
    """Whether it multiplies clearly faster."""
    if not torch.backends.mkldnn.is_available():
        return False
    matrix = torch.full((512, 512), 0.5)  # no random numbers: those of a run are its own
    product = torch.ops.mkldnn._linear_pointwise.default
    by_onednn = partial(product, matrix, matrix, None, "none", [], "")
    return gain(lambda: F.linear(matrix, matrix), by_onednn) >= FASTER
