"""The ids that stand for no text."""

from __future__ import annotations

from dataclasses import dataclass

TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
"""How the special ids are written in files and pictures, in the order of `Special`'s fields."""

MASK = "<mask>"
"""What stands where a token was, for models that learn to fill it in."""


def sentinel(number: int) -> str:
    """What stands where a span was (Raffel et al. 2020, section 3.1.4), as T5's files write it."""
    return f"<extra_id_{number}>"


@dataclass(frozen=True)
class Special:
    """Ids of padding, begin and end of a sequence, and of text the vocabulary does not know.

    `mask` and `sentinels` are there where a vocabulary has been given them.
    """

    pad: int = 0
    bos: int = 1
    eos: int = 2
    unk: int = 3
    mask: int | None = None
    sentinels: tuple[int, ...] = ()
