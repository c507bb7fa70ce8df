"""Families: a file holds the paper, the configuration, how it is built, its sizes and names."""

from sublayer.models import (  # files each
    albert,
    bert,
    classic,
    gpt,
    llama,
    marian,
    t5,
    transformer,
    vit,
)

__all__ = ["albert", "bert", "classic", "gpt", "llama", "marian", "t5", "transformer", "vit"]
