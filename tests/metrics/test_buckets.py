"""Scores by source length: every row in one bucket, no bucket too small to mean anything."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS, by_length, quantile_edges

EXACT = METRICS["exact_match"](Evaluation())


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=300), st.integers(1, 8), st.integers(1, 40)
)
def test_quantile_buckets_are_large_enough_and_take_every_row(lengths, buckets, rows):
    edges = quantile_edges(lengths, buckets, rows)
    assert edges == sorted(set(edges))
    assert edges[0] == min(lengths)
    assert len(edges) <= buckets
    found = by_length(EXACT, lengths, ["a"] * len(lengths), [("a",)] * len(lengths), edges)
    assert len(found) == len(edges)
    assert sum(bucket.rows for bucket in found) == len(lengths)
    assert len(found) == 1 or min(bucket.rows for bucket in found) >= rows
    assert all(a.high < b.low for a, b in pairwise(found))


def test_equal_numbers_of_rows_where_lengths_allow():
    assert quantile_edges(list(range(100)), buckets=4, rows=10) == [0, 25, 50, 75]


def test_a_score_for_each_bucket():
    references = [("a",), ("b",), ("c",), ("x",)]
    short, long = by_length(EXACT, [1, 2, 8, 9], ["a", "b", "c", "d"], references, edges=[1, 5])
    assert (short.low, short.high, short.rows, short.value) == (1, 2, 2, 1.0)
    assert (long.low, long.high, long.rows, long.value) == (8, 9, 2, 0.5)


def test_empty_buckets_are_left_out_and_shorter_rows_go_first():
    found = by_length(EXACT, [1, 9], ["a", "a"], [("a",), ("a",)], edges=[2, 5, 8])
    assert [(bucket.low, bucket.rows) for bucket in found] == [(1, 1), (9, 1)]


def test_one_length_for_each_hypothesis():
    with pytest.raises(ValueError, match="1 source lengths but 2 hypotheses"):
        by_length(EXACT, [1], ["a", "b"], [("a",), ("b",)], [0])
