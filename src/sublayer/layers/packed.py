"""Linear layers for decoding on a CPU: weights laid out once as its fastest kernels want them.

They take and give float32, so that sums, norms and attention stay exact; what is narrower is only
what a product reads.
"""

from __future__ import annotations

import warnings
from typing import Literal, final

import torch
from torch import Tensor, nn

from sublayer.layers.quantized import GROUP, Int4Weights

Act = Literal["none", "relu"]
"""What a product does to its output before it writes it."""


def is_available() -> bool:
    """Whether this PyTorch has the kernels: those of oneDNN and of FBGEMM, on x86."""
    return torch.backends.mkldnn.is_available() and (
        "fbgemm" in torch.backends.quantized.supported_engines
    )


@final
class PackedLinear(nn.Module):
    """x W^T + b by oneDNN, with W in its own layout, in float32 or bfloat16."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, act: Act = "none") -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.dtype, self.act = weight.dtype, act
        self.is_float = weight.dtype == torch.float32
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 1)
        self.bias = None if bias is None else bias.to(weight.dtype)
        self.product = torch.ops.mkldnn._linear_pointwise.default

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        if self.is_float:
            return self.product(x, self.weight, self.bias, self.act, [], "")
        narrow = x.to(self.dtype)
        return self.product(narrow, self.weight, self.bias, self.act, [], "").to(x.dtype)

    __call__ = forward  # no hooks: they would cost as much as a small product


@final
class PackedInt8(nn.Module):
    """x W^T + b by FBGEMM in eight bits: x becomes so on the way, with one scale for all of it."""

    def __init__(
        self, weight: Tensor, scale: Tensor, bias: Tensor | None, act: Act = "none"
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        zeros = torch.zeros(len(scale), dtype=torch.long)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the type is to go one day; this kernel still wants it
            numbers = torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        self.packed = torch.ops.quantized.linear_prepack(numbers, bias)
        torch.backends.quantized.engine = engine
        ops = torch.ops.quantized
        overloaded = ops.linear_relu_dynamic if act == "relu" else ops.linear_dynamic
        # the operation itself: a look at every argument comes before it otherwise, which takes as
        # long as a product of one row
        self.product = overloaded.default._op

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        return self.product(x, self.packed)

    __call__ = forward


@final
class PackedInt8Weights(nn.Module):
    """x W^T + b with W in eight bits and x in bfloat16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight, self.scale, self.bias = weight, scale.bfloat16(), bias

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        flat = x.reshape(-1, self.in_features).bfloat16()
        out = torch._weight_int8pack_mm(flat, self.weight, self.scale).to(x.dtype)
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], self.out_features)

    __call__ = forward


@final
class PackedInt4(nn.Module):
    """x W^T + b with W in four bits and x in bfloat16."""

    def __init__(self, layer: Int4Weights) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self.weight = torch._convert_weight_to_int4pack_for_cpu(layer.numbers(), 1)
        # a scale and a zero of every group of every row, groups first
        self.scales = torch.stack((layer.scale, layer.zero), 2).transpose(0, 1).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        flat = x.reshape(-1, self.in_features).bfloat16()
        out = torch._weight_int4pack_mm_for_cpu(flat, self.weight, GROUP, self.scales).to(x.dtype)
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], self.out_features)

    __call__ = forward
