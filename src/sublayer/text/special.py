"""The four ids that stand for no text."""

from __future__ import annotations

from dataclasses import dataclass

TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
"""How the special ids are written in files and pictures, in the order of `Special`'s fields."""


@dataclass(frozen=True)
class Special:
    """Ids of padding, begin and end of a sequence, and of text the vocabulary does not know."""

    pad: int = 0
    bos: int = 1
    eos: int = 2
    unk: int = 3
