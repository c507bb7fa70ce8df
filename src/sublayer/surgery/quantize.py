"""Weights of fewer bits in the linear layers, and the tables, of a network of any family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sublayer.config.files import atomic_write, load_json
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.quantized import (
    Bfloat16Linear,
    Int4Weights,
    Int8Embedding,
    Int8Linear,
    Int8Weights,
    QuantizedLinear,
)
from sublayer.layers.score import Score
from sublayer.models.hub import (
    QUANTIZATION,
    build_undrawn,
    put_tensors,
    read_config,
    read_tensors,
)

Weights = Literal["int8", "int8-weights", "int4", "bfloat16"]
"""Eight bits and inputs in eight bits too; eight bits alone; four bits in groups; bfloat16."""
KINDS: dict[Weights, type[QuantizedLinear]] = {
    "int8": Int8Linear,
    "int8-weights": Int8Weights,
    "int4": Int4Weights,
    "bfloat16": Bfloat16Linear,
}


def quantize(network: nn.Module, weights: Weights) -> nn.Module:
    """The network itself, with every linear layer and table of tokens quantized.

    A head that was the table becomes a layer of its own, with numbers of its own: it is a small
    part of what is saved. What does not fit the groups of four bits has eight.
    """
    return _replaced(network, weights, lambda kind, part: kind.of(part))


def _replaced(
    network: nn.Module, weights: Weights, make: Callable[[Any, nn.Module], nn.Module]
) -> nn.Module:
    """The same, with what `make` makes of a quantized class and the part it is to stand for."""
    for name, part in list(network.named_children()):
        if isinstance(part, Score):
            continue  # they read their own weights
        if type(part) is nn.Linear:
            kind = KINDS[weights] if KINDS[weights].fits(part) else Int8Weights
            setattr(network, name, make(kind, part))
        elif isinstance(network, TokenEmbedding) and isinstance(part, nn.Embedding):
            if weights != "bfloat16":
                setattr(network, name, make(Int8Embedding, part))
        else:
            _replaced(part, weights, make)
    return network.eval()


def has_quantized(network: nn.Module) -> bool:
    """Whether any part of the network has weights of fewer bits."""
    return any(isinstance(part, QuantizedLinear | Int8Embedding) for part in network.modules())


def restored(network: nn.Module) -> nn.Module:
    """The network itself, with layers of floats again: those that its quantized ones stand for."""
    for name, part in list(network.named_children()):
        if isinstance(part, QuantizedLinear):
            layer = nn.Linear(part.in_features, part.out_features, part.bias is not None)
            layer.weight = nn.Parameter(part.dequantized(), requires_grad=False)
            if part.bias is not None:
                layer.bias = nn.Parameter(part.bias, requires_grad=False)
            setattr(network, name, layer)
        else:
            restored(part)
    return network


def is_quantized(folder: Path) -> bool:
    """Whether the weights of a folder are quantized."""
    return (folder / QUANTIZATION).exists()


def write_quantization(weights: Weights, folder: Path) -> None:
    """Say in a folder how its weights are quantized."""
    atomic_write(folder / QUANTIZATION, json.dumps({"weights": weights}, indent=2) + "\n")


def load_quantized(folder: Path) -> nn.Module:
    """The network of a folder with quantized weights.

    Raises:
        ValueError: a file is damaged, or not of the network that the folder describes.
    """
    keys = load_json(folder / QUANTIZATION)
    weights: Any = keys.get("weights") if isinstance(keys, dict) else None
    if weights not in KINDS:
        raise ValueError(f"{folder / QUANTIZATION}: 'weights' must be one of {', '.join(KINDS)}")
    _, config = read_config(folder)
    network = _replaced(build_undrawn(config), weights, lambda kind, part: kind.like(part))
    with torch.no_grad():
        file = folder / "model.safetensors"
        put_tensors(network, read_tensors(file), str(file))
    return network
