"""What a recurrence does between its products, forward and backward in few passes.

In float32 whatever the products are in, for an LSTM adds to its cell at every step. A tanh is made
of a sigmoid, which takes a ninth of its time on a CPU (LOG.md, 2026-11-28).
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sublayer.layers.precision import widened


def tanh_of_sigmoid(x: Tensor) -> Tensor:
    """tanh x = 2 sigmoid(2 x) - 1, exact to 1e-7; no gradient is recorded."""
    return x.mul(2).sigmoid_().mul_(2).sub_(1)


def slopes(s: Tensor) -> Tensor:
    """s (1 - s), the derivative of a sigmoid that gave `s`."""
    return torch.addcmul(s, s, s, value=-1)


@final
class LSTMGates(torch.autograd.Function):
    """Sums of products `... 4d` and cells `... d` -> outputs and cells, `... d`.

    c' = f c + i g, h = o tanh c', of which the sums are in the order i, f, g, o.
    """

    @staticmethod
    def forward(ctx: Any, sums: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs in the type of the sums, cells in float32."""
        d = cell.shape[-1]
        gates = sums.to(cell.dtype, copy=True)
        gates[..., 2 * d : 3 * d].mul_(2)
        gates.sigmoid_()
        take, keep, new, show = gates.chunk(4, -1)
        after = torch.mul(keep, cell).addcmul_(take, new, value=2).sub_(take)
        seen = tanh_of_sigmoid(after)
        ctx.save_for_backward(gates, cell, seen)
        ctx.dtype = sums.dtype
        return (show * seen).to(sums.dtype), after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_h: Tensor, d_after: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the sums and of the cells."""
        gates, cell, seen = ctx.saved_tensors
        take, keep, new, show = gates.chunk(4, -1)
        d_h = widened(d_h)
        d_after = torch.addcmul(d_after, d_h * show, 1 - seen * seen)
        d_sums = slopes(gates)
        parts = d_sums.chunk(4, -1)
        parts[0].mul_(torch.mul(new, 2).sub_(1).mul_(d_after))
        parts[1].mul_(cell * d_after)
        parts[2].mul_(torch.mul(take, 4).mul_(d_after))
        parts[3].mul_(seen * d_h)
        return d_sums.to(ctx.dtype), d_after.mul_(keep)


@final
class GRUGates(torch.autograd.Function):
    """What was read and what is recalled, `... 3d`, and outputs `... d` -> outputs, `... d`.

    h' = n + z (h - n), n = tanh(x_n + r u_n), of which the products are in the order r, z, n.
    """

    @staticmethod
    def forward(ctx: Any, read: Tensor, recalled: Tensor, h: Tensor) -> Tensor:
        """Outputs in float32."""
        d = h.shape[-1]
        gates = torch.add(read[..., : 2 * d], recalled[..., : 2 * d]).to(h.dtype).sigmoid_()
        reset, update = gates.chunk(2, -1)
        offered, kept = read[..., 2 * d :].to(h.dtype), recalled[..., 2 * d :]
        new = tanh_of_sigmoid(torch.addcmul(offered, reset, kept.to(h.dtype)))
        ctx.save_for_backward(gates, kept, new, h)
        return torch.lerp(new, h, update)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of all three."""
        gates, kept, new, h = ctx.saved_tensors
        reset, update = gates.chunk(2, -1)
        d = h.shape[-1]
        d_h = d_out * update
        d_new = (d_out - d_h).mul_(1 - new * new)
        d_read = torch.empty(*h.shape[:-1], 3 * d, dtype=h.dtype, device=h.device)
        torch.mul(d_new, kept, out=d_read[..., :d])
        torch.mul(d_out, h - new, out=d_read[..., d : 2 * d])
        d_read[..., : 2 * d].mul_(slopes(gates))
        d_read[..., 2 * d :] = d_new
        d_read = d_read.to(kept.dtype)
        d_recalled = d_read.clone()
        d_recalled[..., 2 * d :].mul_(reset)
        return d_read, d_recalled, d_h
