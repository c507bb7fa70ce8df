"""Where a module computes."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device:
    """Where its numbers lie: the parameters, or buffers where all weights are quantized."""
    return next(chain(module.parameters(), module.buffers())).device
