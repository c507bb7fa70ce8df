"""A network made ready for decoding on a CPU: the same model, its products by faster kernels."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer import loops
from sublayer.layers.attend import Attend, Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Stack
from sublayer.layers.direct import (
    DirectCrossAttention,
    DirectDense,
    DirectFeedForward,
    DirectGated,
    DirectNorm,
    DirectPost,
    DirectPre,
    DirectSelfAttention,
)
from sublayer.layers.feedforward import FeedForward, GatedFeedForward
from sublayer.layers.packed import (
    Act,
    PackedInt4,
    PackedInt8,
    PackedInt8Weights,
    PackedLinear,
    is_available,
)
from sublayer.layers.precision import has_bfloat16
from sublayer.layers.quantized import (
    Bfloat16Linear,
    Int4Weights,
    Int8Linear,
    Int8Weights,
    QuantizedLinear,
)
from sublayer.layers.residual import PostNorm, PreNorm
from sublayer.layers.score import ScaledDot, Score

WORTH = 1_000_000
"""Parameters below which a network stays as it is: its products cost less than calling them."""
WORTH_LOOPS = 10_000_000
"""Weights in eight bits from which on loops are worth what they cost: half a second of a start, and
80 MB of a process."""


def best_dtype() -> torch.dtype:
    """What products of floats are fastest in here: bfloat16 where the CPU multiplies in it."""
    return torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32


def is_worth_packing(network: nn.Module) -> bool:
    """Whether a network would be faster packed: a large one, on a CPU whose kernels are known."""
    tensors = [*network.parameters(), *network.buffers()]
    on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    return on_cpu and is_available() and sum(t.numel() for t in tensors) >= WORTH


@dataclass(frozen=True)
class _How:
    """How layers are packed."""

    dtype: torch.dtype
    """What products of floats are in."""
    by_loops: bool
    """Whether products in eight bits, and what stands around them, are loops of our own."""


def is_worth_loops(network: nn.Module, inputs: int = 1) -> bool:
    """Whether layers in eight bits, if there are any, have enough to do to wait for loops."""
    layers = [part for part in network.modules() if isinstance(part, Int8Linear)]
    least = WORTH_LOOPS if inputs < loops.MANY else 1
    return sum(layer.weight.numel() for layer in layers) >= least


def has_loops() -> bool:
    """Whether there are loops for eight bits here: numba, and a processor that adds up bytes."""
    if not loops.are_here():
        return False
    try:
        from sublayer.loops.compiled import multiplies_bytes
    except ImportError as error:
        warnings.warn(f"int8 is slower than it might be: {error}", stacklevel=2)
        return False
    return multiplies_bytes()


def ready(network: nn.Module, dtype: torch.dtype | None = None, *, inputs: int = 1) -> nn.Module:
    """The network packed, in `dtype` or the best here, where that is worth it; else itself.

    `inputs` is how many it is to answer, at least.
    """
    if not is_worth_packing(network):
        return network
    return packed(network, dtype, by_loops=is_worth_loops(network, inputs) and has_loops())


def packed(
    network: nn.Module, dtype: torch.dtype | None = None, *, by_loops: bool | None = None
) -> nn.Module:
    """A copy whose linear layers are packed, those of floats in `dtype` (None: the best here).

    It shares the tensors that stay; it cannot be trained, saved or listened to. Queries, keys and
    values come of one product, and a ReLU is part of the product before it. Those in eight bits go
    `by_loops`, a stack as one, where there are many (None), or by PyTorch's kernels.
    """
    tensors = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    if by_loops is None:
        by_loops = is_worth_loops(network) and has_loops()
    _pack(twin, _How(best_dtype() if dtype is None else dtype, by_loops))
    return twin.eval()


def _pack(module: nn.Module, how: _How) -> None:
    for name, part in module.named_children():
        if isinstance(part, Score):
            continue  # they read their own weights
        if _is_layer(part):
            setattr(module, name, _pack_layers([part], how))
        elif isinstance(part, PostNorm | PreNorm):
            setattr(module, name, _residual(part, how))
        else:
            _pack(part, how)
    if how.by_loops and isinstance(module, Stack):
        from sublayer.surgery.looped import looped

        module.blocks = nn.ModuleList(looped(module.blocks))


def _residual(residual: PostNorm | PreNorm, how: _How) -> nn.Module:
    norm, layer = residual.norm, _sublayer(residual.layer, how)
    norm = DirectNorm(norm) if isinstance(norm, nn.LayerNorm) else norm
    return DirectPost(layer, norm) if isinstance(residual, PostNorm) else DirectPre(layer, norm)


def _sublayer(layer: nn.Module, how: _How) -> nn.Module:
    def pack(*layers: nn.Module, act: Act = "none") -> nn.Module:
        return _pack_layers(layers, how, act)

    if isinstance(layer, SelfAttention) and _are_alike([layer.q, layer.k, layer.v]):
        sizes = [part.out_features // layer.d_head for part in (layer.q, layer.k, layer.v)]
        qkv, out, attend = pack(layer.q, layer.k, layer.v), pack(layer.out), _attend(layer.attend)
        kept = _kept(layer.out, how)
        return DirectSelfAttention(qkv, out, attend, layer.d_head, sizes, kept)
    if isinstance(layer, CrossAttention) and _are_alike([layer.k, layer.v]):
        q, kv, out = pack(layer.q), pack(layer.k, layer.v), pack(layer.out)
        attend, kept = _attend(layer.attend), _kept(layer.out, how)
        return DirectCrossAttention(q, kv, out, attend, layer.d_head, kept)
    if isinstance(layer, FeedForward):
        has_relu = layer.act is F.relu
        up = pack(layer.up, act="relu" if has_relu else "none")
        return DirectFeedForward(up, pack(layer.down), None if has_relu else layer.act)
    if isinstance(layer, GatedFeedForward) and _are_alike([layer.gate, layer.up]):
        return DirectGated(pack(layer.gate, layer.up), pack(layer.down), layer.act)
    _pack(layer, how)
    return layer


def _kept(out: nn.Module, how: _How) -> torch.dtype:
    """What an attention keeps keys and values in: loops wait for half as much of bfloat16."""
    return torch.bfloat16 if how.by_loops and isinstance(out, Int8Linear) else torch.float32


def _attend(attend: Attend) -> Attend:
    if isinstance(attend, Dense) and type(attend.score) is ScaledDot:
        return DirectDense(attend)
    return attend


def _is_layer(part: nn.Module) -> bool:
    return type(part) is nn.Linear or isinstance(part, QuantizedLinear)


def _are_alike(layers: Sequence[nn.Module]) -> bool:
    """Whether layers can be one: of one kind, all with a bias or none."""
    kinds = {type(layer) for layer in layers}
    return (
        all(map(_is_layer, layers)) and len(kinds) == 1 and len({_has_bias(x) for x in layers}) == 1
    )


def _has_bias(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear | QuantizedLinear) and layer.bias is not None


def pack_layers(layers: Sequence[nn.Module], dtype: torch.dtype, act: Act = "none") -> nn.Module:
    """Layers of one kind that read the same, as one whose outputs stand one after another."""
    return _pack_layers(layers, _How(dtype, by_loops=False), act)


def _pack_layers(layers: Sequence[nn.Module], how: _How, act: Act = "none") -> nn.Module:
    first = layers[0]
    assert isinstance(first, nn.Linear | QuantizedLinear)
    bias = _joined(layers, "bias") if first.bias is not None else None
    if isinstance(first, Int8Linear):
        weight, scale = _joined(layers, "weight"), _joined(layers, "scale")
        if not how.by_loops:
            return PackedInt8(weight, scale, bias, act)
        from sublayer.surgery.looped import LoopedInt8

        return LoopedInt8(weight, scale, bias, act)
    if isinstance(first, Int8Weights | Int4Weights):
        made: nn.Module
        if isinstance(first, Int8Weights):
            made = PackedInt8Weights(_joined(layers, "weight"), _joined(layers, "scale"), bias)
        else:
            made = PackedInt4(_joined_int4(layers, bias))
        return made if act == "none" else nn.Sequential(made, nn.ReLU())
    narrow = torch.bfloat16 if isinstance(first, Bfloat16Linear) else how.dtype
    return PackedLinear(_joined(layers, "weight").to(narrow), bias, act)


def _joined_int4(layers: Sequence[nn.Module], bias: Tensor | None) -> Int4Weights:
    names = ("weight", "scale", "zero")
    parts = {name: _joined(layers, name) for name in names}
    rows, bytes_a_row = parts["weight"].shape
    whole = Int4Weights(2 * bytes_a_row, rows, bias=bias is not None)
    for name, tensor in parts.items():
        setattr(whole, name, tensor)
    whole.bias = bias
    return whole


def _joined(layers: Sequence[nn.Module], name: str) -> Tensor:
    tensors = [
        layer.get_parameter(name) if isinstance(layer, nn.Linear) else layer.get_buffer(name)
        for layer in layers
    ]
    return torch.cat([tensor.detach() for tensor in tensors])
