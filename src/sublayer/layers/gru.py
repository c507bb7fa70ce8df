"""A GRU over a whole sequence in training, where PyTorch has no fused one: on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sublayer.layers.gates import slopes, tanh_of_sigmoid
from sublayer.layers.precision import product_dtype, widened
from sublayer.layers.product import gathered, linear, times


def run_gru(layers: nn.GRU, x: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
    """`b n m` and the first states, `l b d`, zeros if None -> `b n d` and the last ones."""
    assert (layers.batch_first, layers.bidirectional) == (True, False)
    last = list[Tensor]()
    for i in range(layers.num_layers):
        weight, recurrent, bias, recurrent_bias = (
            getattr(layers, f"{name}_l{i}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if i:
            x = F.dropout(x, layers.dropout, layers.training)
        read = linear(x.transpose(0, 1), weight, bias)  # n b g
        begin = x.new_zeros(len(x), layers.hidden_size) if first is None else first[i]
        dtype = product_dtype(x)
        out: Tensor = _GRU.apply(  # type: ignore[no-untyped-call]
            read, widened(begin), recurrent.to(dtype), recurrent_bias.to(dtype)
        )
        x = out.to(dtype).transpose(0, 1)
        last.append(x[:, -1])
    return x, torch.stack(last)


class _GRU(torch.autograd.Function):
    """As `GRUGates` with its product, step by step; states in float32.

    What a step's gradients are multiplied by does not depend on them, so on the way back it is made
    for all steps at once, as the gradients of the weights are.
    """

    @staticmethod
    def forward(ctx: Any, read: Tensor, first: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """What was read, `n b 3d`, and first states, `b d` -> all others, `n b d`."""
        n, (b, d) = len(read), first.shape
        states, gates = first.new_empty(n + 1, b, d), first.new_empty(n, b, 2 * d)
        new, recalled = first.new_empty(n, b, d), list[Tensor]()
        states[0] = first
        opened, offered = (part.unbind() for part in read.to(first.dtype).split([2 * d, d], -1))
        for i, (h, after, both) in enumerate(zip(states[:-1], states[1:], gates, strict=True)):
            recalled.append(times(h.to(weight.dtype), weight, bias))
            sums, kept = recalled[i].split([2 * d, d], -1)
            reset, update = torch.add(opened[i], sums, out=both).sigmoid_().chunk(2, -1)
            new[i] = tanh_of_sigmoid(torch.addcmul(offered[i], reset, kept))
            torch.lerp(new[i], h, update, out=after)
        ctx.save_for_backward(states, torch.stack(recalled), gates, new, weight)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all four."""
        states, recalled, gates, new, weight = ctx.saved_tensors
        n, b, d = new.shape
        reset, update = gates.chunk(2, -1)
        to_new = (1 - update) * (1 - new * new)
        factors = torch.cat([to_new * recalled[..., 2 * d :], states[:-1] - new, to_new], -1)
        factors[..., : 2 * d].mul_(slopes(gates))
        factors = factors.view(n, b, 3, d)
        onto_recalled = factors.clone()
        onto_recalled[:, :, 2].mul_(reset)
        d_states, d_recalled = torch.empty_like(new), recalled.new_empty(n, b, 3 * d)
        d_h = torch.zeros_like(new[0])
        for i in reversed(range(n)):
            torch.add(grad[i], d_h, out=d_states[i])
            of_step = d_recalled[i].view(b, 3, d)
            torch.mul(onto_recalled[i], d_states[i].unsqueeze(1), out=of_step)
            d_h = torch.addcmul(times(d_recalled[i], weight.T), d_states[i], update[i])
        d_read = (factors * d_states.unsqueeze(2)).view(n, b, 3 * d).to(recalled.dtype)
        d_weight = gathered(d_recalled, states[:-1].to(weight.dtype))
        return d_read, d_h, d_weight, d_recalled.flatten(0, 1).sum(0)
