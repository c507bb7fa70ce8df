"""Sublayers for decoding on a CPU, whose parts call one another directly.

A step of one token is a hundred products of microseconds each, and what a module does around its
`forward` costs as much again. So these have no hooks, no taps and no dropout: their `__call__` is
`forward` itself. What one calls stands once more in its tuple `parts`, since a module looks for its
modules only after it has looked for anything else of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.attend import FEW, MANY, Attend, Dense, products
from sublayer.layers.frame import Frame
from sublayer.layers.state import State

Function = Callable[..., Tensor]


@final
class DirectNorm(nn.Module):
    """`nn.LayerNorm`'s product of one call."""

    def __init__(self, of: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias = of.weight, of.bias
        self.parts = (list(of.normalized_shape), of.weight, of.bias, of.eps)

    def forward(self, x: Tensor) -> Tensor:
        """`... m` -> `... m`."""
        return torch.layer_norm(x, *self.parts)

    __call__ = forward


@final
class DirectDense(Attend):
    """`Dense` by scaled products, for a few new tokens beside many keys; others go to `dense`."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
        """Queries `b h q d`, keys and values `b g k d` -> heads `b h q d`."""
        b, h, n, d = q.shape
        if n > FEW or n == k.shape[2]:
            return self.dense(q, k, v, frame)
        if n == 1 and b * h < MANY and frame.veil(q.dtype) is None:
            is_shared = h != k.shape[1]
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=is_shared)
        return products((q, k, d**-0.5), v, frame)

    __call__ = forward


@final
class DirectSelfAttention(nn.Module):
    """Self-attention with one product, `qkv`, for queries, keys and values of `sizes` heads.

    Keys and values are of the type `kept`.
    """

    def __init__(
        self,
        qkv: nn.Module,
        out: nn.Module,
        attend: Attend,
        d_head: int,
        sizes: list[int],
        kept: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.qkv, self.out, self.attend = qkv, out, attend
        self.d_head, self.sizes, self.kept = d_head, sizes, kept
        self.parts = (qkv, out, attend)

    def forward(self, x: Tensor, frame: Frame, state: State | None = None) -> Tensor:
        """`b n m` -> `b n m`; with a state, `x` is what is new and the state gives the past."""
        qkv, out, attend = self.parts
        q, k, v = _split(qkv(x), self.d_head).split_with_sizes(self.sizes, 1)
        q, k = frame.turn(q, k)
        k, v = k.to(self.kept), v.to(self.kept)
        if state is not None:
            k, v = state.append(self, k, v)
        return out(_join(attend(q, k.to(q.dtype), v.to(q.dtype), frame)))

    __call__ = forward


@final
class DirectCrossAttention(nn.Module):
    """Attention to a memory; its keys and values come of one product, `kv`, in the type `kept`."""

    def __init__(
        self,
        q: nn.Module,
        kv: nn.Module,
        out: nn.Module,
        attend: Attend,
        d_head: int,
        kept: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.q, self.kv, self.out, self.attend = q, kv, out, attend
        self.d_head, self.kept = d_head, kept
        self.parts = (q, out, attend)

    def forward(
        self, x: Tensor, memory: Tensor, frame: Frame, state: State | None = None
    ) -> Tensor:
        """`b q m`, `b k m` -> `b q m`; with a state, the memory is projected only once."""
        query, out, attend = self.parts
        q = _split(query(x), self.d_head)
        k, v = self.keys(memory, state)
        return out(_join(attend(q, k.to(q.dtype), v.to(q.dtype), frame)))

    def keys(self, memory: Tensor, state: State | None) -> tuple[Tensor, ...]:
        """Keys and values of the memory, `b g k d`; those of a state are made once."""
        return (
            self._project(memory)
            if state is None
            else state.once(self, lambda: self._project(memory))
        )

    def _project(self, memory: Tensor) -> tuple[Tensor, ...]:
        heads = _split(self.kv(memory), self.d_head)
        return tuple(part.to(self.kept).contiguous() for part in heads.chunk(2, 1))

    __call__ = forward


@final
class DirectFeedForward(nn.Module):
    """down(up(x)), where `up` has the activation in it or `act` follows."""

    def __init__(self, up: nn.Module, down: nn.Module, act: Function | None) -> None:
        super().__init__()
        self.up, self.down, self.act = up, down, act
        self.parts = (up, down)

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        up, down = self.parts
        inner = up(x)
        return down(inner if self.act is None else self.act(inner))

    __call__ = forward


@final
class DirectGated(nn.Module):
    """down(act(gate(x)) * up(x)), of which `joint` gives gate and up one after another."""

    def __init__(self, joint: nn.Module, down: nn.Module, act: Function) -> None:
        super().__init__()
        self.joint, self.down, self.act = joint, down, act
        self.parts = (joint, down)

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        joint, down = self.parts
        gate, up = joint(x).chunk(2, -1)
        return down(self.act(gate) * up)

    __call__ = forward


@final
class DirectPost(nn.Module):
    """norm(x + layer(x))."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        self.parts = (layer, norm)

    def forward(self, x: Tensor, *context: object) -> Tensor:
        """The stream after the sublayer."""
        layer, norm = self.parts
        return norm(layer(x, *context).add_(x))

    __call__ = forward


@final
class DirectPre(nn.Module):
    """x + layer(norm(x))."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        self.parts = (layer, norm)

    def forward(self, x: Tensor, *context: object) -> Tensor:
        """The stream after the sublayer."""
        layer, norm = self.parts
        return layer(norm(x), *context).add_(x)

    __call__ = forward


def _split(x: Tensor, d_head: int) -> Tensor:
    """`b n (h d)` -> `b h n d`."""
    b, n, _ = x.shape
    if n == 1:  # the same numbers in the same order
        return x.view(b, -1, 1, d_head)
    return x.view(b, n, -1, d_head).transpose(1, 2)


def _join(heads: Tensor) -> Tensor:
    """`b h n d` -> `b n (h d)`."""
    b, _, n, _ = heads.shape
    return (heads if n == 1 else heads.transpose(1, 2)).reshape(b, n, -1)
