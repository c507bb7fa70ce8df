"""Which texts are decoded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final


@final
class Waiting:
    """Texts that are still to be decoded, of like length together.

    The longest come first: what does not fit into memory fails at once.
    """

    def __init__(self, lengths: Sequence[int], tokens: int) -> None:
        self.lengths, self.tokens = lengths, tokens
        self._order = sorted(range(len(lengths)), key=lengths.__getitem__)

    def take(self, alive: int = 0, longest: int = 0) -> list[int]:
        """Places of the texts to begin with now, beside so many that are being decoded.

        All together have at most `tokens` when they are padded to the `longest`, but there is at
        least one text. Where less than three quarters of that are free, none is begun: a step is
        hardly longer for more texts, while each beginning costs the time of some.
        """
        if not self._order:
            return []
        room = max(1, self.tokens // max(longest, self.lengths[self._order[-1]]))
        if alive and 4 * alive > room:
            return []
        rows = self._order[-(room - alive) :]
        del self._order[-len(rows) :]
        return rows


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Places of texts of like length, at most `tokens` with their padding, but at least one text.

    The longest come first.
    """
    waiting = Waiting(lengths, tokens)
    while rows := waiting.take():
        yield rows


def in_place(going: Sequence[int]) -> list[int]:
    """The same rows in the order in which fewest move: the last ones stand where others left."""
    staying = {row for row in going if row < len(going)}
    last = (row for row in going if row >= len(going))
    return [row if row in staying else next(last) for row in range(len(going))]
