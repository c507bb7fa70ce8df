"""What the steps of a loop multiply by, with the gradient of all steps made at once.

Step by step, autograd makes a gradient of the whole matrix at each step, from a product whose inner
dimension is the batch alone, and adds it to that of the steps before. Here a step gives only the
gradient of its own input; that of the matrix is one product over all steps, as in fused recurrences
(Appleyard et al. 2016, section 3.3).
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sublayer.layers.precision import product_dtype, widened
from sublayer.layers.product import gathered, times


def is_recorded() -> bool:
    """Whether gradients will be asked for, and PyTorch records the code as it runs."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


@final
class Held:
    """x M^T + b for the steps of one loop: `b w i` by `o i`, or by `b o i`, row by row.

    Each call is the next step. `onto` is what the products are added to, `n b w o`; where there is
    nothing to add, `shape` is `n b w`.
    """

    def __init__(
        self,
        matrix: Tensor,
        bias: Tensor | None = None,
        *,
        onto: Tensor | None = None,
        shape: tuple[int, ...] = (),
    ) -> None:
        dtype = product_dtype(matrix)
        self.adds, self.inputs = onto is not None, list[Tensor]()
        if onto is None:
            onto = matrix.new_zeros((), dtype=dtype).expand(*shape, matrix.shape[-2])
        if matrix.ndim == 3 and matrix.device.type == "cpu":
            dtype = widened(matrix[:0]).dtype  # for products of few rows each that is faster
        matrix, bias = matrix.to(dtype), None if bias is None else bias.to(dtype)
        held: Tensor = _Hold.apply(onto, matrix, bias, self.inputs)  # type: ignore[no-untyped-call]
        self.steps = iter(held.unbind())
        self.matrix, self.bias = matrix.detach(), None if bias is None else bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """`b w i` -> `b w o`."""
        self.inputs.append(x.detach())
        out: Tensor = _Step.apply(x, next(self.steps), self.matrix, self.bias, self.adds)  # type: ignore[no-untyped-call]
        return out


class _Hold(torch.autograd.Function):
    """What the steps start from; on the way back, where their gradients come together."""

    @staticmethod
    def forward(
        ctx: Any, onto: Tensor, matrix: Tensor, bias: Tensor | None, inputs: list[Tensor]
    ) -> Tensor:
        ctx.inputs, ctx.by_row, ctx.dtype = inputs, matrix.ndim == 3, matrix.dtype
        return onto.view_as(onto)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_matrix = None
        if ctx.needs_input_grad[1]:
            x, g = torch.stack(ctx.inputs).to(ctx.dtype), grad.to(ctx.dtype)  # n b w ...
            d_matrix = _by_row(g).mT @ _by_row(x) if ctx.by_row else gathered(g, x)
        d_bias = grad.flatten(0, 2).sum(0) if ctx.needs_input_grad[2] else None
        return grad if ctx.needs_input_grad[0] else None, d_matrix, d_bias, None


def _by_row(x: Tensor) -> Tensor:
    """`n b w i` -> `b (n w) i`."""
    return x.transpose(0, 1).flatten(1, 2)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, onto: Tensor, matrix: Tensor, bias: Tensor | None, adds: bool
    ) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.dtype = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            out = _product(x.to(matrix.dtype), matrix, bias).to(onto.dtype)
        return out.add_(onto) if adds else out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (matrix,) = ctx.saved_tensors
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = _product(grad.to(matrix.dtype), matrix.mT, None).to(ctx.dtype)
        return d_x, grad, None, None, None


def _product(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    return x @ matrix.mT if matrix.ndim == 3 else times(x, matrix, bias)
