"""Families: a file holds the paper, the configuration, how it is built, its sizes and names."""

from sublayer.models import transformer  # files the family under its name

__all__ = ["transformer"]
