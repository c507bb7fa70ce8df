"""A metric by the length of the source: where a model fails on long inputs, one number hides it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sublayer.metrics.running import Metric, References


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many rows have sources of `low` to `high` tokens, both included, and what they score."""

    low: int
    high: int
    rows: int
    value: float


def quantile_edges(lengths: Sequence[int], buckets: int = 5, rows: int = 50) -> list[int]:
    """The lowest lengths of `buckets` buckets, each of about equally many rows, at least `rows`.

    Rows of one length stay together, so there may be fewer buckets; too few rows are one bucket.
    """
    enough = max(rows, len(lengths) / buckets)
    edges: list[int] = []
    filled, left = enough, len(lengths)
    for length, count in sorted(Counter(lengths).items()):
        if filled >= enough and (left >= rows or not edges):
            edges.append(length)
            filled = 0
        filled += count
        left -= count
    return edges


def by_length(
    metric: Metric,
    source_lengths: Sequence[int],
    hypotheses: Sequence[str],
    references: References,
    edges: Sequence[int],
) -> list[Bucket]:
    """Score the rows of each bucket apart; `edges` are the buckets' lowest lengths, ascending.

    The first bucket also takes what is shorter, and a bucket without rows is left out.

    Raises:
        ValueError: as `Metric.score`, or there is not one length for each hypothesis.
    """
    if len(source_lengths) != len(hypotheses):
        raise ValueError(
            f"{len(source_lengths)} source lengths but {len(hypotheses)} hypotheses; "
            "give one length for each"
        )
    assert edges, "no buckets"
    members: list[list[int]] = [[] for _ in edges]
    for row, length in enumerate(source_lengths):
        members[max(bisect_right(edges, length) - 1, 0)].append(row)
    return [
        Bucket(
            low=min(source_lengths[row] for row in rows),
            high=max(source_lengths[row] for row in rows),
            rows=len(rows),
            value=metric.score(
                [hypotheses[row] for row in rows], [references[row] for row in rows]
            ).value,
        )
        for rows in members
        if rows
    ]
