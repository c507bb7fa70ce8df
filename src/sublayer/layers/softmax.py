"""The softmax of attention, over however few keys."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sublayer.layers.precision import widened

WIDE = 16
"""Numbers of a vector register, below which PyTorch's kernel goes through a row one by one."""


def softmax(scores: Tensor) -> Tensor:
    """Scores `... k` -> weights `... k`.

    On a CPU a row of fewer numbers than a register holds takes eight times as long as one of
    sixteen, so it is filled up with scores that get no weight.
    """
    k = scores.shape[-1]
    if k >= WIDE or scores.device.type != "cpu" or torch.compiler.is_compiling():
        return scores.softmax(-1)
    filled = F.pad(widened(scores), (0, WIDE - k), value=-torch.inf)
    return filled.softmax(-1)[..., :k].to(scores.dtype)
