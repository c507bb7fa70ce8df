"""Families that the Transformer replaced, in the same parts, tasks and loop."""

from sublayer.models.classic import wavenet  # files each

__all__ = ["wavenet"]
