"""Families that the Transformer replaced, in the same parts, tasks and loop."""

from sublayer.models.classic import textcnn, wavenet  # files each

__all__ = ["textcnn", "wavenet"]
