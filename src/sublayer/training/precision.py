"""Which device, and which number type the matrix products use."""

from __future__ import annotations

import torch

from sublayer.layers.precision import has_bfloat16


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


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products are in bfloat16: where asked for or, by "auto", where that is faster."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def product_type(precision: str, device: torch.device) -> torch.dtype:
    """What matrix products are in."""
    return torch.bfloat16 if uses_bfloat16(precision, device) else torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context of a training step; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))
