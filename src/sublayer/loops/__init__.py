"""Loops over numbers, compiled by numba where it is installed: what PyTorch has no kernel for."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MANY = 1_000
"""Inputs from which on loops are worth what they cost for any network that can go by them."""


def are_here() -> bool:
    """Whether loops can be had: the extra `fast` is installed."""
    return find_spec("numba") is not None


def are_for(logits: Tensor) -> bool:
    """Whether what is done to these may be a loop: some network already decodes by loops."""
    import torch  # some loops are there for those who have not imported it

    is_loaded = f"{__name__}.compiled" in sys.modules
    is_plain = logits.dtype == torch.float32 and not logits.requires_grad
    return is_loaded and is_plain and logits.device.type == "cpu"
