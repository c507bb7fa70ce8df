"""A network made ready for decoding on a CPU: the same model, its products by faster kernels."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.attend import Attend, Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
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


def best_dtype() -> torch.dtype:
    """What products of floats are fastest in here: bfloat16 where the CPU multiplies in it."""
    return torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32


def is_worth_packing(network: nn.Module) -> bool:
    """Whether a network would be faster packed: a large one, on a CPU whose kernels are known."""
    tensors = [*network.parameters(), *network.buffers()]
    on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    return on_cpu and is_available() and sum(t.numel() for t in tensors) >= WORTH


def ready(network: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """The network packed, in `dtype` or the best here, where that is worth it; else itself."""
    return packed(network, dtype) if is_worth_packing(network) else network


def packed(network: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy whose linear layers are packed, those of floats in `dtype` (None: the best here).

    It shares the tensors that stay; it cannot be trained, saved or listened to. Queries, keys and
    values come of one product, and a ReLU is part of the product before it.
    """
    tensors = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    _pack(twin, best_dtype() if dtype is None else dtype)
    return twin.eval()


def _pack(module: nn.Module, dtype: torch.dtype) -> None:
    for name, part in module.named_children():
        if isinstance(part, Score):
            continue  # they read their own weights
        if _is_layer(part):
            setattr(module, name, pack_layers([part], dtype))
        elif isinstance(part, PostNorm | PreNorm):
            setattr(module, name, _residual(part, dtype))
        else:
            _pack(part, dtype)


def _residual(residual: PostNorm | PreNorm, dtype: torch.dtype) -> nn.Module:
    norm, layer = residual.norm, _sublayer(residual.layer, dtype)
    norm = DirectNorm(norm) if isinstance(norm, nn.LayerNorm) else norm
    return DirectPost(layer, norm) if isinstance(residual, PostNorm) else DirectPre(layer, norm)


def _sublayer(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    def pack(*layers: nn.Module, act: Act = "none") -> nn.Module:
        return pack_layers(layers, dtype, act)

    if isinstance(layer, SelfAttention) and _are_alike([layer.q, layer.k, layer.v]):
        sizes = [part.out_features // layer.d_head for part in (layer.q, layer.k, layer.v)]
        qkv, out = pack(layer.q, layer.k, layer.v), pack(layer.out)
        return DirectSelfAttention(qkv, out, _attend(layer.attend), layer.d_head, sizes)
    if isinstance(layer, CrossAttention) and _are_alike([layer.k, layer.v]):
        kv, out = pack(layer.k, layer.v), pack(layer.out)
        return DirectCrossAttention(pack(layer.q), kv, out, _attend(layer.attend), layer.d_head)
    if isinstance(layer, FeedForward):
        has_relu = layer.act is F.relu
        up = pack(layer.up, act="relu" if has_relu else "none")
        return DirectFeedForward(up, pack(layer.down), None if has_relu else layer.act)
    if isinstance(layer, GatedFeedForward) and _are_alike([layer.gate, layer.up]):
        return DirectGated(pack(layer.gate, layer.up), pack(layer.down), layer.act)
    _pack(layer, dtype)
    return layer


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
    first = layers[0]
    assert isinstance(first, nn.Linear | QuantizedLinear)
    bias = _joined(layers, "bias") if first.bias is not None else None
    if isinstance(first, Int8Linear):
        return PackedInt8(_joined(layers, "weight"), _joined(layers, "scale"), bias, act)
    if isinstance(first, Int8Weights | Int4Weights):
        made: nn.Module
        if isinstance(first, Int8Weights):
            made = PackedInt8Weights(_joined(layers, "weight"), _joined(layers, "scale"), bias)
        else:
            made = PackedInt4(_joined_int4(layers, bias))
        return made if act == "none" else nn.Sequential(made, nn.ReLU())
    narrow = torch.bfloat16 if isinstance(first, Bfloat16Linear) else dtype
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
