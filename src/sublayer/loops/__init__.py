"""Loops over numbers, compiled by numba where it is installed: what PyTorch has no kernel for."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import torch
from torch import Tensor


def are_here() -> bool:
    """Whether loops can be had: the extra `fast` is installed."""
    return find_spec("numba") is not None


def are_for(logits: Tensor) -> bool:
    """Whether what is done to these may be a loop: some network already decodes by loops."""
    is_loaded = f"{__name__}.compiled" in sys.modules
    is_plain = logits.dtype == torch.float32 and not logits.requires_grad
    return is_loaded and is_plain and logits.device.type == "cpu"
