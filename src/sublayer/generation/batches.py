"""Which texts are decoded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Places of texts of like length, at most `tokens` with their padding, but at least one text.

    The longest come first: what does not fit into memory fails at once.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    while order:
        rows = order[-max(1, tokens // lengths[order[-1]]) :]
        del order[-len(rows) :]
        yield rows


def in_place(going: Sequence[int]) -> list[int]:
    """The same rows in the order in which fewest move: the last ones stand where others left."""
    staying = {row for row in going if row < len(going)}
    last = (row for row in going if row >= len(going))
    return [row if row in staying else next(last) for row in range(len(going))]
