"""Layers in eight bits for decoding on a CPU, by loops of our own (`sublayer/loops`).

Their inputs get a scale for each row, so that what is written does not depend on what is beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from sublayer.layers.block import Block
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
from sublayer.loops.product import FEWEST, product
from sublayer.loops.sublayer import sublayers
from sublayer.loops.tables import (
    ACTS,
    LAYERS,
    NO_ACT,
    PASTS,
    Array,
    Layer,
    Product,
    line_of,
    tiled,
)
from sublayer.surgery.plan import act_of

FEW = 64
"""Tokens of a row up to which a loop over their keys is about as fast as products."""
NO_SEEN: Seen = np.empty((1, 1, 1), np.int32)
NO_PAST = (0, 0, 0, 0)


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
        # PyTorch would make int64 of all of them first
        columns[0, : self.out_features] = weight.numpy().sum(1, dtype=np.int32)
        columns[1, : self.out_features] = scale
        if bias is not None:
            columns[2, : self.out_features] = bias
        self.is_whole = columns.shape[1] == self.out_features and self.in_features % 4 == 0
        least = np.float32(0 if act == "relu" else -np.inf)
        self.by = Product(tiles, columns.reshape(3, len(tiles), -1), least)

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        *rows, k = x.shape
        _check_width(k, self.in_features)
        out = product(_array(x.reshape(-1, k)), self.by, self.out_features)
        return torch.from_numpy(out).view(*rows, self.out_features)

    __call__ = forward


class Known(NamedTuple):
    """A sublayer that can be a loop."""

    layer: Layer
    inner: DirectSelfAttention | DirectCrossAttention | None
    """Attention, which knows its keys; None for a feed-forward layer."""
    heads: tuple[int, int]
    """Of queries and of keys."""

    @property
    def like(self) -> Tensor:
        """No keys, of the shape and type of those that attention keeps."""
        if self.inner is None:
            return torch.empty(0)
        return torch.empty(1, self.heads[1], 0, self.inner.d_head, dtype=self.inner.kept)

    @property
    def line(self) -> tuple[Any, ...]:
        """Of LAYERS."""
        is_cross = isinstance(self.inner, DirectCrossAttention)
        return line_of(self.layer, *self.heads, is_cross=is_cross)


Role = Literal["attention", "cross", "feedforward"]


class Step(NamedTuple):
    """A sublayer of a block."""

    direct: nn.Module
    role: Role
    known: Known | None

    def __call__(self, x: Tensor, context: Context) -> Tensor:
        """The stream after it, by products."""
        frame, memory, memory_frame, state = context
        if self.role == "attention":
            return self.direct(x, frame, state)
        if self.role == "cross":
            return self.direct(x, memory, memory_frame, state)
        return self.direct(x)


Context = tuple[Frame, Tensor | None, Frame | None, State | None]
"""What a block is given beside the stream."""


@final
class Apart(nn.Module):
    """A sublayer that is no loop, where a stack has a block."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.direct, self.steps = step.direct, (step,)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """The stream `b n m` after the sublayer."""
        return self.steps[0](x, context)

    __call__ = forward


@final
class Looped(nn.Module):
    """Sublayers in a row, where a stack has blocks: a few tokens go through all as one loop.

    Where tokens are many, positions turn or add, or many rows share a memory, each goes by itself,
    and attention by products.
    """

    def __init__(self, steps: Sequence[Step], known: Sequence[Known]) -> None:
        super().__init__()
        self.directs = nn.ModuleList(step.direct for step in steps)
        self.steps, self.known = tuple(steps), tuple(known)
        self.parts = tuple((of.inner, of.like) for of in known)
        self.width = known[0].layer.norm.shape[1]
        self.is_small = all(of.layer.tiles.size < FEWEST for of in known)
        self.attends = any(step.role == "attention" for step in steps)
        self.crosses = any(step.role == "cross" for step in steps)
        self._table: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy has arrays of its own, so their addresses stay behind."""
        return {**self.__dict__, "_table": None}

    @property
    def table(self) -> Array:
        """The sublayers as LAYERS, whose arrays `known` holds."""
        if self._table is None:
            self._table = np.array([of.line for of in self.known], LAYERS)
        return self._table

    def forward(
        self,
        x: Tensor,
        frame: Frame,
        memory: Tensor | None = None,
        memory_frame: Frame | None = None,
        state: State | None = None,
    ) -> Tensor:
        """The stream `b n m` after the sublayers; `memory` is `b k m`."""
        context = (frame, memory, memory_frame, state)
        b, n, m = x.shape
        _check_width(m, self.width)
        if not self._is_for(x, context):
            return self._by_products(x, context)
        own = others = NO_SEEN
        pasts, held = [NO_PAST] * len(self.known), []
        spare: dict[torch.Size, tuple[Tensor, Tensor]] = {}
        for i, (inner, like) in enumerate(self.parts):
            if isinstance(inner, DirectSelfAttention):
                length = 0
                if state is None:  # nobody needs them behind their sublayer, so all have the same
                    if like.shape not in spare:
                        spare[like.shape] = _pair(like, b, n)
                    keys, values = spare[like.shape]
                else:
                    cache = state.cache(inner)
                    length = cache.length
                    keys, values = cache.open(b, n, like, like)
                own = _seen(frame, length + n)
            elif isinstance(inner, DirectCrossAttention):
                assert memory is not None
                assert memory_frame is not None
                keys, values = inner.keys(memory, state)
                length = keys.shape[2]
                others = _seen(memory_frame, length)
            else:
                continue
            held += [keys, values]
            pasts[i] = (keys.data_ptr(), values.data_ptr(), keys.shape[2], length)
        # what comes as addresses is looked at nowhere else
        if not (_fits(own, b, n) and _fits(others, b, n) and all(len(kept) >= b for kept in held)):
            raise ValueError(f"{b} rows of {n} tokens, but masks or keys of others")
        table = np.array(pasts, PASTS)
        out = sublayers(_array(x), self.table, table, own, others, alone=self.is_small)
        return torch.from_numpy(out)

    __call__ = forward

    def _is_for(self, x: Tensor, context: Context) -> bool:
        frame, memory, memory_frame, _ = context
        if x.shape[1] > FEW or (self.attends and not frame.is_plain()):
            return False
        if not self.crosses:
            return True
        assert memory is not None
        assert memory_frame is not None
        return len(memory) == len(x) and memory_frame.is_plain()

    def _by_products(self, x: Tensor, context: Context) -> Tensor:
        for i, step in enumerate(self.steps):
            if step.role == "feedforward":
                one, nothing = self.table[i : i + 1], np.zeros(1, PASTS)
                out = sublayers(_array(x), one, nothing, NO_SEEN, NO_SEEN, alone=self.is_small)
                x = torch.from_numpy(out)
            else:
                x = step(x, context)
        return x


def looped(blocks: Iterable[nn.Module]) -> list[nn.Module]:
    """Blocks of packed sublayers as loops, as far as their parts are known."""
    steps: list[Step] = []
    for block in (blocks := list(blocks)):
        if not isinstance(block, Block):
            return blocks
        steps.append(Step(block.attention, "attention", _known(block.attention)))
        if block.cross is not None:
            steps.append(Step(block.cross, "cross", _known(block.cross)))
        steps.append(Step(block.feedforward, "feedforward", _known(block.feedforward)))
    parts: list[nn.Module] = []
    for are_known, group in groupby(steps, lambda step: step.known is not None):
        together = list(group)
        known = [step.known for step in together if step.known is not None]
        parts += [Looped(together, known)] if are_known else map(Apart, together)
    return parts


def _known(direct: nn.Module) -> Known | None:
    if not isinstance(direct, DirectPost | DirectPre) or not isinstance(direct.norm, DirectNorm):
        return None
    inner = direct.layer
    if isinstance(inner, DirectFeedForward):
        act = _act_of(inner)
        if act is not None and _are_tiles(inner.up, inner.down):
            return Known(_layer(direct, inner.up, inner.down, act), None, (0, 0))
    elif isinstance(inner, DirectSelfAttention | DirectCrossAttention):
        first = inner.qkv if isinstance(inner, DirectSelfAttention) else inner.q
        if isinstance(inner.attend, DirectDense) and _are_tiles(first, inner.out):
            return Known(_layer(direct, first, inner.out), inner, _heads(inner))
    return None


def _act_of(inner: DirectFeedForward) -> int | None:
    """What loops call it; None if they do not know it."""
    if inner.act is None:  # or a part of the first product
        return NO_ACT
    name = act_of(inner.act)
    return None if name is None or name == "relu" else ACTS[name]


def _heads(inner: DirectSelfAttention | DirectCrossAttention) -> tuple[int, int]:
    if isinstance(inner, DirectSelfAttention):
        return inner.sizes[0], inner.sizes[1]
    assert isinstance(inner.q, LoopedInt8)
    assert isinstance(inner.kv, LoopedInt8)
    return inner.q.out_features // inner.d_head, inner.kv.out_features // 2 // inner.d_head


def _are_tiles(*products: nn.Module) -> bool:
    """Whether all are products in eight bits without a part of a tile."""
    return all(isinstance(part, LoopedInt8) and part.is_whole for part in products)


def _layer(
    direct: DirectPost | DirectPre, first: nn.Module, last: nn.Module, act: int = NO_ACT
) -> Layer:
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
        act,
    )


def _check_width(width: int, wanted: int) -> None:
    if width != wanted:
        raise ValueError(f"the layer reads vectors of {wanted} numbers, these have {width}")


def _pair(like: Tensor, rows: int, n: int) -> tuple[Tensor, Tensor]:
    """Room for keys and values of `n` slots."""
    shape = rows, like.shape[1], n, like.shape[3]
    return like.new_empty(shape), like.new_empty(shape)


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
