"""The number type of matrix products, and which is fast here."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor

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
    """Time of a float32 product over that of a bfloat16 one; the quickest of turns count."""
    wide = torch.randn(512, 512)
    contenders = {dtype: wide.to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    quickest = dict.fromkeys(contenders, float("inf"))
    with torch.inference_mode():
        for _ in range(8):
            for dtype, matrix in contenders.items():
                start = time.perf_counter()
                matrix @ matrix
                quickest[dtype] = min(quickest[dtype], time.perf_counter() - start)
    return quickest[torch.float32] / quickest[torch.bfloat16]


def widened(x: Tensor) -> Tensor:
    """In float32 at least, for sums of many numbers."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
