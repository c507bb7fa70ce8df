"""Sublayers for decoding on a CPU, whose parts call one another directly.

A step of one token is a hundred products of microseconds each, and what a module does around its
`forward` costs as much again. So these have no hooks, no taps and no dropout: their `__call__` is
`forward` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.attend import Attend
from sublayer.layers.frame import Frame
from sublayer.layers.state import State

Function = Callable[..., Tensor]


@final
class DirectNorm(nn.Module):
    """`nn.LayerNorm`'s product of one call."""

    def __init__(self, of: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias = of.weight, of.bias
        self.shape, self.eps = list(of.normalized_shape), of.eps

    def forward(self, x: Tensor) -> Tensor:
        """`... m` -> `... m`."""
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)

    __call__ = forward


@final
class DirectSelfAttention(nn.Module):
    """Self-attention with one product, `qkv`, for queries, keys and values of `sizes` heads."""

    def __init__(
        self, qkv: nn.Module, out: nn.Module, attend: Attend, d_head: int, sizes: list[int]
    ) -> None:
        super().__init__()
        self.qkv, self.out, self.attend = qkv, out, attend
        self.d_head, self.sizes = d_head, sizes

    def forward(self, x: Tensor, frame: Frame, state: State | None = None) -> Tensor:
        """`b n m` -> `b n m`; with a state, `x` is what is new and the state gives the past."""
        b, n, _ = x.shape
        heads = self.qkv(x).view(b, n, -1, self.d_head).transpose(1, 2)  # b (h g g) n d
        q, k, v = heads.split_with_sizes(self.sizes, 1)
        q, k = frame.turn(q, k)
        if state is not None:
            k, v = state.append(self, k, v)
        return self.out(self.attend(q, k, v, frame).transpose(1, 2).reshape(b, n, -1))

    __call__ = forward


@final
class DirectCrossAttention(nn.Module):
    """Attention to a memory; `kv` is one product, done once."""

    def __init__(
        self, q: nn.Module, kv: nn.Module, out: nn.Module, attend: Attend, d_head: int
    ) -> None:
        super().__init__()
        self.q, self.kv, self.out, self.attend, self.d_head = q, kv, out, attend, d_head

    def forward(
        self, x: Tensor, memory: Tensor, frame: Frame, state: State | None = None
    ) -> Tensor:
        """`b q m`, `b k m` -> `b q m`; with a state, the memory is projected only once."""

        def project() -> tuple[Tensor, ...]:
            heads = self.kv(memory).unflatten(-1, (-1, self.d_head)).transpose(1, 2)
            return tuple(part.contiguous() for part in heads.chunk(2, 1))

        k, v = project() if state is None else state.once(self, project)
        b, n, _ = x.shape
        q = self.q(x).view(b, n, -1, self.d_head).transpose(1, 2)
        return self.out(self.attend(q, k, v, frame).transpose(1, 2).reshape(b, n, -1))

    __call__ = forward


@final
class DirectFeedForward(nn.Module):
    """down(up(x)), where `up` has the activation in it or `act` follows."""

    def __init__(self, up: nn.Module, down: nn.Module, act: Function | None) -> None:
        super().__init__()
        self.up, self.down, self.act = up, down, act

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        inner = self.up(x)
        return self.down(inner if self.act is None else self.act(inner))

    __call__ = forward


@final
class DirectGated(nn.Module):
    """down(act(gate(x)) * up(x)), of which `joint` gives gate and up one after another."""

    def __init__(self, joint: nn.Module, down: nn.Module, act: Function) -> None:
        super().__init__()
        self.joint, self.down, self.act = joint, down, act

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        gate, up = self.joint(x).chunk(2, -1)
        return self.down(self.act(gate) * up)

    __call__ = forward


@final
class DirectPost(nn.Module):
    """norm(x + layer(x))."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: Tensor, *context: object) -> Tensor:
        """The stream after the sublayer."""
        return self.norm(self.layer(x, *context).add_(x))

    __call__ = forward


@final
class DirectPre(nn.Module):
    """x + layer(norm(x))."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: Tensor, *context: object) -> Tensor:
        """The stream after the sublayer."""
        return self.layer(self.norm(x), *context).add_(x)

    __call__ = forward
