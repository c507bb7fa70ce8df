"""The ids that stand for no text, and where they stand round it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

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


@final
@dataclass(frozen=True)
class Spelling:
    """Ids round the letters of a word: any of `begins` before them, `end` behind them."""

    begins: tuple[int, ...]
    end: int


@final
@dataclass(frozen=True)
class Framing:
    """Ids before, between and after a text or two, and the segment that the second is of.

    `one` is what stands before and after one text, `two` before, between and after two.
    """

    one: tuple[tuple[int, ...], tuple[int, ...]]
    two: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    second: int = 1

    @classmethod
    def of(cls, special: Special) -> Framing:
        """begin a end, begin a end b end (Devlin et al. 2019, section 3.2)."""
        bos, eos = (special.bos,), (special.eos,)
        return cls((bos, eos), (bos, eos, eos))

    def turn(self, first: int) -> int:
        """Where the second of two texts begins, behind a first of so many ids."""
        before, between, _ = self.two
        return len(before) + first + len(between)

    def frame(
        self, first: Sequence[int], second: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """The ids of a text, or two, in their frame, and the segment of each."""
        if second is None:
            before, after = self.one
            ids = [*before, *first, *after]
            return ids, [0] * len(ids)
        before, between, after = self.two
        head, tail = [*before, *first, *between], [*second, *after]
        return [*head, *tail], [0] * len(head) + [self.second] * len(tail)
