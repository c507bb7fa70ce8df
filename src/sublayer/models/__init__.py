"""Families: a file holds the paper, the configuration, how it is built, its sizes and names."""

from sublayer.models import (
    albert,
    bert,
    gpt,
    llama,
    transformer,
)  # files each family under its name

__all__ = ["albert", "bert", "gpt", "llama", "transformer"]
