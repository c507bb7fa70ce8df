"""How far up the right one stands in lists that a model has ordered.

These are functions of ranks, not metrics of texts: whoever orders the lists knows the ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sublayer.metrics.running import Score


def recall_at(ranks: Sequence[int], k: int) -> Score:
    """Share of lists in which the right one stands among the first `k`; ranks count from 1.

    Raises:
        ValueError: there are no ranks, or a rank or `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"recall at {k}: take the first 1 or more of each list")
    name = f"recall@{k}"
    _check(name, ranks)
    return Score(sum(rank <= k for rank in ranks) / len(ranks), f"{name}|ranks:1|v1")


def mean_reciprocal_rank(ranks: Sequence[int]) -> Score:
    """Mean of 1 / rank; ranks count from 1 (Voorhees 1999, https://trec.nist.gov/pubs/trec8).

    Raises:
        ValueError: there are no ranks, or one is below 1.
    """
    _check("mrr", ranks)
    return Score(math.fsum(1 / rank for rank in ranks) / len(ranks), "mrr|ranks:1|v1")


def _check(name: str, ranks: Sequence[int]) -> None:
    if not ranks:
        raise ValueError(f"{name}: there are no ranks to score; give at least one")
    for row, rank in enumerate(ranks):
        if rank < 1:
            raise ValueError(f"{name}: row {row} has rank {rank}; ranks count from 1")
