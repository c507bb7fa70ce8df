"""How long outputs may get, and what their length counts for."""

from __future__ import annotations

ROOM = 50
"""Tokens that an output may have more than its source (Vaswani et al. 2017, section 6.1)."""


def length_penalty(tokens: int, alpha: float) -> float:
    """((5 + |Y|) / 6)^alpha (Wu et al. 2016, eq. 14), where |Y| counts the end."""
    return ((5 + tokens) / 6) ** alpha


def limit_of(max_length: int | None, source_tokens: int) -> int:
    """Tokens an output may have, the end included."""
    return max_length if max_length is not None else source_tokens + ROOM
