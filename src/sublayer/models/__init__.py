"""Families: a file holds the paper, the Config, how it is built from parts, its sizes and its other
names.
"""

from sublayer.models import transformer  # files the family under its name

__all__ = ["transformer"]
