"""The number type of matrix products, and which is fast here."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from sublayer.layers.turns import gain

FASTER = 1.3
"""By what bfloat16 products must beat float32 ones to be worth the casts around them."""


def product_dtype(x: Tensor) -> torch.dtype:
    """What autocast would turn `x` into for a product; its own type where autocast is off."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices clearly faster than float32 ones.

    On a CPU that is measured: of processors with the same instructions one was seen at half of
    float32's speed and another at four times it.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _cpu_gain() >= FASTER


@cache
def _cpu_gain() -> float:
    """Time of a float32 product over that of a bfloat16 one."""
    wide = torch.full((512, 512), 0.5)  # no random numbers: those of a run are its own
    narrow = wide.bfloat16()
    return gain(lambda: wide @ wide, lambda: narrow @ narrow)


def widened(x: Tensor) -> Tensor:
    """In float32 at least, for sums of many numbers."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
