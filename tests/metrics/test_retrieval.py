"""Ranks of the right one, against ordered lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.metrics import Score, mean_reciprocal_rank, recall_at


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 10))
def test_as_counted_in_the_lists(ranks, k):
    lists = [["right" if place == rank else "wrong" for place in range(1, 10)] for rank in ranks]
    hits = ["right" in found[:k] for found in lists]
    assert recall_at(ranks, k).value == pytest.approx(sum(hits) / len(hits))
    shares = [1 / (found.index("right") + 1) for found in lists]
    assert mean_reciprocal_rank(ranks).value == pytest.approx(sum(shares) / len(shares))


def test_signatures():
    assert recall_at([1, 7], 5) == Score(0.5, "recall@5|ranks:1|v1")
    assert mean_reciprocal_rank([1, 4]) == Score(0.625, "mrr|ranks:1|v1")


def test_wrong_ranks_are_refused():
    with pytest.raises(ValueError, match="recall@2: there are no ranks to score; give at least"):
        recall_at([], 2)
    with pytest.raises(ValueError, match="mrr: there are no ranks"):
        mean_reciprocal_rank([])
    with pytest.raises(ValueError, match="mrr: row 1 has rank 0; ranks count from 1"):
        mean_reciprocal_rank([1, 0])
    with pytest.raises(ValueError, match="recall at 0: take the first 1 or more of each list"):
        recall_at([1], 0)
