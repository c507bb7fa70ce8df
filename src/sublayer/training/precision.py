"""Which device, and which number type the matrix products use."""

from __future__ import annotations

import time
from functools import cache

import torch

FASTER = 1.3
"""By what bfloat16 products must beat float32 ones to be worth the casts around them."""


def pick_device(wish: str) -> torch.device:
    """ "auto" is the first GPU there is, else the CPU.

    Raises:
        ValueError: no such device here.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device '{wish}' is not to be had here ({str(error).splitlines()[0]}); use 'auto'"
        ) from None
    return device


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


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products are in bfloat16: where asked for or, by "auto", where that is faster."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def product_type(precision: str, device: torch.device) -> torch.dtype:
    """What matrix products are in."""
    return torch.bfloat16 if uses_bfloat16(precision, device) else torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context of a training step; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))
