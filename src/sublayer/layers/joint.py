"""Linear layers that read the same input, as one matrix product."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.precision import product_dtype
from sublayer.layers.product import is_plain


def joint(x: Tensor, *layers: nn.Module) -> tuple[Tensor, ...]:
    """The outputs of `layers` for `x`, each `... out`.

    In training one product serves them all: fewer and larger ones, forward and backward. The
    weights stay in layers of their own, so that each can be named, adapted, quantized and listened
    to; where one is no plain `nn.Linear`, has a bias that another has not, or is listened to, and
    where no gradient is needed, each is called by itself.
    """
    plain = [layer for layer in layers if is_plain(layer)]
    biases = [layer.bias for layer in plain if layer.bias is not None]
    if (
        len(plain) < len(layers)
        or len(biases) not in {0, len(layers)}
        or not torch.is_grad_enabled()
    ):
        return tuple(layer(x) for layer in layers)
    dtype = product_dtype(x)  # narrowed before they are joined: half the bytes to copy
    weight = torch.cat([layer.weight.to(dtype) for layer in plain])
    bias = torch.cat([bias.to(dtype) for bias in biases]) if biases else None
    return F.linear(x, weight, bias).split([layer.out_features for layer in plain], -1)
