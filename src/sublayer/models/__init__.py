"""Families: a file holds the paper, the family's Config, how it is built from parts, its sizes and its names elsewhere."""

from sublayer.models import transformer  # files the family under its name

__all__ = ["transformer"]
