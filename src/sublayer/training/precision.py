"""Which device, and which number type the matrix products use."""

from __future__ import annotations

import torch


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
    """Whether the hardware multiplies bfloat16 matrices faster than float32 ones.

    On a CPU that takes AMX tiles: AVX-512's bfloat16 instructions alone were measured at half of
    float32's speed.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products are in bfloat16: where asked for or, by "auto", where that is faster."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context of a training step; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))
