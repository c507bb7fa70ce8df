"""Looking inside: what goes through a network, and pictures of it."""

from sublayer.lens.attention import AttentionMaps, cross_attention
from sublayer.lens.record import record
from sublayer.lens.report import check_kind, draw

__all__ = ["AttentionMaps", "check_kind", "cross_attention", "draw", "record"]
