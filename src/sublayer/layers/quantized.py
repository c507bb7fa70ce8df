"""Linear layers and tables with weights of fewer bits, as they are kept on disk.

Each is its own reference: it multiplies with the weights that its numbers stand for, in the type of
its input. `layers/packed.py` has the fast ones.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 64
"""Weights of a row that share a scale and a zero in four bits."""


class QuantizedLinear(nn.Module):
    """Abstract. x W^T + b, where W is what a few bits a weight stand for."""

    bias: Tensor | None

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)

    @classmethod
    def like(cls, linear: nn.Linear) -> QuantizedLinear:
        """A layer of the same shape, to be filled."""
        return cls(linear.in_features, linear.out_features, bias=linear.bias is not None)

    @classmethod
    def of(cls, linear: nn.Linear) -> QuantizedLinear:
        """The nearest to a layer of floats."""
        layer = cls.like(linear)
        layer._take(linear.weight.detach().float())
        if layer.bias is not None:
            layer.bias = linear.bias.detach().float()
        return layer

    @classmethod
    def fits(cls, linear: nn.Linear) -> bool:
        """Whether a layer of this shape can be had."""
        return True

    def dequantized(self) -> Tensor:
        """W, `out in`, in float32."""
        raise NotImplementedError

    def _take(self, weight: Tensor) -> None:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.dequantized().to(x.dtype), bias)


class _Int8(QuantizedLinear):
    """Abstract. Eight bits a weight, one scale a row: W = q s, q from -127 to 127."""

    weight: Tensor
    scale: Tensor

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.register_buffer("weight", torch.zeros(out_features, in_features, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(out_features))

    def _take(self, weight: Tensor) -> None:
        self.weight, self.scale = rounded(weight)

    def dequantized(self) -> Tensor:
        """W, `out in`, in float32."""
        return self.weight * self.scale.unsqueeze(1)


@final
class Int8Linear(_Int8):
    """Weights in eight bits; made fast, its input becomes eight bits too, as it comes.

    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer
    arithmetic only inference"; with one scale a row of the weights.
    """


@final
class Int8Weights(_Int8):
    """Weights in eight bits; the products are of bfloat16 when it is made fast."""


@final
class Int4Weights(QuantizedLinear):
    """Four bits a weight: W = (q - 8) s + z, q from 0 to 15, s and z of a group of a row.

    The groups are those of Frantar et al. 2023 ("GPTQ", section 5), the rounding is to the nearest.
    """

    weight: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        # two weights a byte, the first in the lower half
        half = torch.zeros(out_features, in_features // 2, dtype=torch.uint8)
        self.register_buffer("weight", half)
        for name in ("scale", "zero"):
            self.register_buffer(
                name, torch.ones(out_features, in_features // GROUP, dtype=torch.bfloat16)
            )

    @classmethod
    def fits(cls, linear: nn.Linear) -> bool:
        """Whether rows are of whole groups, and there are as many as the kernel takes together."""
        return linear.in_features % GROUP == 0 and linear.out_features % 16 == 0

    def _take(self, weight: Tensor) -> None:
        groups = weight.unflatten(1, (-1, GROUP))
        low, high = groups.amin(2), groups.amax(2)
        self.scale = ((high - low) / 15).clamp_min(1e-8).bfloat16()
        self.zero = (low + 8 * self.scale.float()).bfloat16()
        shifted = (groups - self.zero.float().unsqueeze(2)) / self.scale.float().unsqueeze(2)
        numbers = (shifted + 8).round().clamp(0, 15).to(torch.uint8).flatten(1)
        self.weight = numbers[:, 0::2] | numbers[:, 1::2] << 4

    def numbers(self) -> Tensor:
        """q, `out in`, int32."""
        halves = torch.stack((self.weight & 15, self.weight >> 4), 2)
        return halves.flatten(1).to(torch.int32)

    def dequantized(self) -> Tensor:
        """W, `out in`, in float32."""
        groups = (self.numbers() - 8).unflatten(1, (-1, GROUP))
        return (groups * self.scale.float().unsqueeze(2) + self.zero.float().unsqueeze(2)).flatten(
            1
        )


@final
class Bfloat16Linear(QuantizedLinear):
    """Weights in bfloat16."""

    weight: Tensor

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.register_buffer("weight", torch.zeros(out_features, in_features, dtype=torch.bfloat16))

    def _take(self, weight: Tensor) -> None:
        self.weight = weight.bfloat16()

    def dequantized(self) -> Tensor:
        """W, `out in`, in float32."""
        return self.weight.float()


@final
class Int8Embedding(nn.Module):
    """A table with eight bits a number, one scale a row."""

    weight: Tensor
    scale: Tensor

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        shape = (num_embeddings, embedding_dim)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(num_embeddings))

    @classmethod
    def like(cls, table: nn.Embedding) -> Int8Embedding:
        """A table of the same shape, to be filled."""
        return cls(table.num_embeddings, table.embedding_dim)

    @classmethod
    def of(cls, table: nn.Embedding) -> Int8Embedding:
        """The nearest to a table of floats."""
        made = cls.like(table)
        made.weight, made.scale = rounded(table.weight.detach().float())
        return made

    def forward(self, ids: Tensor) -> Tensor:
        """`...` -> `... m`, in float32."""
        return F.embedding(ids, self.weight) * self.scale[ids].unsqueeze(-1)


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of floats, `r n`, as q and s: q s is nearest, |q| at most 127."""
    low, high = weight.aminmax(dim=1)
    scale = (torch.maximum(high, -low) / 127).clamp_min(1e-12)
    return (weight / scale.unsqueeze(1)).round_().to(torch.int8), scale
