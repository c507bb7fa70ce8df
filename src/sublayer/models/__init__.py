"""Families: a file holds the paper, the configuration, how it is built, its sizes and names."""

from sublayer.models import albert, bert, gpt, llama, t5, transformer  # files each under its name

__all__ = ["albert", "bert", "gpt", "llama", "t5", "transformer"]
