"""Greedy search: the likeliest token at every step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def likeliest(logits: Tensor, rows: Sequence[int]) -> Tensor:
    """Logits `r v` -> tokens `r`."""
    return logits.argmax(-1)
