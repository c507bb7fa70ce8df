"""Families: a file holds the paper, the configuration, how it is built, its sizes and names."""

from sublayer.models import gpt, llama, transformer  # files each family under its name

__all__ = ["gpt", "llama", "transformer"]
