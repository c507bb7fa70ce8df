"""Layers in eight bits for decoding on a CPU, by loops of our own (`sublayer/loops`).

Their inputs get a scale for each row, so that what is written does not depend on what is beside it.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sublayer.layers.cache import Cache
from sublayer.layers.direct import (
    DirectCrossAttention,
    DirectDense,
    DirectFeedForward,
    DirectNorm,
    DirectPost,
    DirectPre,
    DirectSelfAttention,
)
from sublayer.layers.frame import Frame
from sublayer.layers.packed import Act
from sublayer.layers.state import State
from sublayer.loops.attend import Seen, listed
from sublayer.loops.compiled import Array
from sublayer.loops.product import Product, product, tiled
from sublayer.loops.sublayer import Layer, Past, sublayer

FEW = 64
"""Tokens of a row up to which a loop over their keys is about as fast as products."""
NO_KEYS = np.empty((0, 0, 0, 0), np.uint16)
NO_PAST = Past(NO_KEYS, NO_KEYS, 0, np.empty((0, 0, 0), np.int32), 0)


@final
class LoopedInt8(nn.Module):
    """x W^T + b in eight bits."""

    def __init__(
        self, weight: Tensor, scale: Tensor, bias: Tensor | None, act: Act = "none"
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        tiles = tiled(weight.numpy())
        columns = np.zeros((3, len(tiles) * tiles.shape[2]), np.float32)
        columns[0, : self.out_features] = weight.sum(1)
        columns[1, : self.out_features] = scale
        if bias is not None:
            columns[2, : self.out_features] = bias
        self.is_whole = columns.shape[1] == self.out_features
        least = np.float32(0 if act == "relu" else -np.inf)
        self.by = Product(tiles, columns.reshape(3, len(tiles), -1), least)

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        *rows, k = x.shape
        out = torch.from_numpy(product(_array(x.reshape(-1, k)), self.by)).flatten(1)
        if not self.is_whole:
            out = out[:, : self.out_features].contiguous()
        return out.view(*rows, self.out_features)

    __call__ = forward


@final
class LoopedFeedForward(nn.Module):
    """A feed-forward sublayer with a ReLU as one loop."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The stream `b n m` after the sublayer."""
        return torch.from_numpy(sublayer(_array(x), self.layer, NO_PAST))

    __call__ = forward


@final
class LoopedSelfAttention(nn.Module):
    """Self-attention of a few tokens as one loop; all else is left to `direct`."""

    def __init__(self, direct: DirectPost | DirectPre, inner: DirectSelfAttention) -> None:
        super().__init__()
        n_heads, n_groups, _ = inner.sizes
        like = torch.empty(1, n_groups, 0, inner.d_head, dtype=inner.kept)
        self.direct = direct
        self.parts = (direct, inner, _layer(direct, inner.qkv, inner.out), n_heads, like)

    def forward(self, x: Tensor, frame: Frame, state: State | None = None) -> Tensor:
        """The stream `b n m` after the sublayer, of which `x` is what is new."""
        direct, inner, layer, n_heads, like = self.parts
        b, n, _ = x.shape
        if n > FEW or not frame.is_plain():
            return direct(x, frame, state)
        cache = Cache() if state is None else state.cache(inner)
        length = cache.length
        keys, values = map(_numbers, cache.open(b, n, like, like))
        seen = _seen(frame, length + n)
        assert _fits(seen, b, n)
        past = Past(keys, values, length, seen, n_heads)
        return torch.from_numpy(sublayer(_array(x), layer, past))

    __call__ = forward


@final
class LoopedCrossAttention(nn.Module):
    """Attention of a few new tokens to a memory as one loop; all else is left to `direct`."""

    def __init__(self, direct: DirectPost | DirectPre, inner: DirectCrossAttention) -> None:
        super().__init__()
        assert isinstance(inner.q, LoopedInt8)
        n_heads = inner.q.out_features // inner.d_head
        self.direct = direct
        self.parts = (direct, inner, _layer(direct, inner.q, inner.out), n_heads)

    def forward(
        self, x: Tensor, memory: Tensor, frame: Frame, state: State | None = None
    ) -> Tensor:
        """The stream `b n m` after the sublayer; the memory is `b k m`."""
        direct, inner, layer, n_heads = self.parts
        b, n, _ = x.shape
        if n > FEW or memory.shape[0] != b or not frame.is_plain():
            return direct(x, memory, frame, state)
        keys, values = map(_numbers, inner.keys(memory, state))
        seen = _seen(frame, keys.shape[2])
        assert _fits(seen, b, n)
        past = Past(keys, values, keys.shape[2], seen, n_heads)
        return torch.from_numpy(sublayer(_array(x), layer, past))

    __call__ = forward


def looped(direct: DirectPost | DirectPre) -> nn.Module:
    """The sublayer as one loop, where its parts are known; else as it is."""
    inner = direct.layer
    if not isinstance(direct.norm, DirectNorm):
        return direct
    if isinstance(inner, DirectFeedForward):
        if inner.act is None and _are_tiles(inner.up, inner.down):
            return LoopedFeedForward(_layer(direct, inner.up, inner.down))
    elif isinstance(inner, DirectSelfAttention | DirectCrossAttention):
        first = inner.qkv if isinstance(inner, DirectSelfAttention) else inner.q
        if isinstance(inner.attend, DirectDense) and _are_tiles(first, inner.out):
            if isinstance(inner, DirectSelfAttention):
                return LoopedSelfAttention(direct, inner)
            return LoopedCrossAttention(direct, inner)
    return direct


def _are_tiles(*products: nn.Module) -> bool:
    """Whether all are products in eight bits without a part of a tile."""
    return all(isinstance(part, LoopedInt8) and part.is_whole for part in products)


def _layer(direct: DirectPost | DirectPre, first: nn.Module, last: nn.Module) -> Layer:
    assert isinstance(direct.norm, DirectNorm)
    assert isinstance(first, LoopedInt8)
    assert isinstance(last, LoopedInt8)
    (m,), weight, bias, eps = direct.norm.parts
    norm = torch.stack(
        [torch.ones(m) if weight is None else weight, torch.zeros(m) if bias is None else bias]
    )
    return Layer(
        norm.detach().float().numpy(),
        np.float32(eps),
        isinstance(direct, DirectPost),
        first.by.tiles,
        first.by.columns,
        first.by.least,
        last.by.tiles,
        last.by.columns,
    )


def _numbers(kept: Tensor) -> Array:
    """Keys or values as loops read them."""
    return kept.view(torch.uint16).numpy()


def _array(x: Tensor) -> Array:
    return (x.detach() if x.requires_grad else x).contiguous().numpy()


def _seen(frame: Frame, n_keys: int) -> Seen:
    """Which slots each new token sees, listed once for all layers."""
    return frame.once("seen", lambda: listed(_allowed(frame), n_keys))


def _allowed(frame: Frame) -> Array | None:
    allowed = frame.allowed()  # q k or b q k
    if allowed is None:
        return None
    allowed = allowed if allowed.ndim == 3 else allowed.unsqueeze(0)
    return _array(allowed.to(torch.bool))


def _fits(seen: Seen, b: int, n: int) -> bool:
    """Whether what is seen is of each row and each token, or alike for all."""
    return seen.shape[0] in (1, b) and seen.shape[1] in (1, n)
