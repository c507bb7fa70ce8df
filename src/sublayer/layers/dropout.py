"""Dropout that does not wait for its random numbers."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@final
class Dropout(nn.Module):
    """Zeroes a share `p` of the elements in training and scales the rest (Srivastava et al. 2014).

    On a CPU the random numbers cost more than the product, so one 64-bit draw decides eight
    elements: the share is rounded to a multiple of 1/256 there, and the scale is that of the
    rounded share, so nothing is biased.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be in [0, 1), got {p}")
        self.p = p

    def extra_repr(self) -> str:
        """The share, as `nn.Dropout` shows it."""
        return f"p={self.p}"

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same out."""
        if not self.training or self.p == 0:
            return x
        dropped = round(self.p * 256)
        if x.device.type != "cpu" or not 0 < dropped < 256 or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        return x * keep_mask(x.shape, dropped, x.dtype)


def keep_mask(shape: torch.Size, dropped: int, dtype: torch.dtype) -> Tensor:
    """0 with probability `dropped`/256, else 256/(256 - `dropped`); by torch's generator."""
    n = shape.numel()
    # from the lowest int64 on: by default random_ sets no sign bit, the top of one byte in eight
    draws = torch.empty((n + 7) // 8, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    level = draws.view(torch.uint8)[:n].view(shape).to(dtype)
    # clamped to two neighbouring integers, exact in every type: comparing, and turning booleans
    # into numbers, would take several times as long
    return level.clamp_(dropped - 1, dropped).sub_(dropped - 1).mul_(256 / (256 - dropped))
