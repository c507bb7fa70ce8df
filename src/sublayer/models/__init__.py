"""Families: a file holds the paper, the configuration, how it is built, its sizes and names."""

from sublayer.models import albert, bert, gpt, llama, marian, t5, transformer, vit  # files each

__all__ = ["albert", "bert", "gpt", "llama", "marian", "t5", "transformer", "vit"]
