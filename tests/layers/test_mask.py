"""Masks compare positions; every combination equals the same combination of plain booleans."""

from __future__ import annotations

from itertools import product

import torch
from hypothesis import given
from hypothesis import strategies as st

from sublayer.layers.mask import Causal, Padding

ROWS, LENGTH = 2, 5
VALID = torch.tensor([[True, True, True, False, False], [True, False, True, True, True]])

# an expression is "causal", "padding" or (operator, expressions)
expressions = st.recursive(
    st.sampled_from(["causal", "padding"]),
    lambda inner: st.tuples(st.sampled_from("&|"), inner, inner) | st.tuples(st.just("~"), inner),
    max_leaves=5,
)


def positions(n):
    """`n` positions for all rows, or for each row its own."""
    one_row = st.lists(st.integers(0, LENGTH - 1), min_size=n, max_size=n)
    return (one_row | st.lists(one_row, min_size=ROWS, max_size=ROWS)).map(torch.tensor)


def mask(expression):
    if isinstance(expression, str):
        return Causal() if expression == "causal" else Padding(VALID)
    operator, *parts = expression
    parts = [mask(part) for part in parts]
    return (
        ~parts[0]
        if operator == "~"
        else parts[0] & parts[1]
        if operator == "&"
        else parts[0] | parts[1]
    )


def by_hand(expression, row, q, k):
    if isinstance(expression, str):
        return q >= k if expression == "causal" else bool(VALID[row, k])
    operator, *parts = expression
    parts = [by_hand(part, row, q, k) for part in parts]
    return not parts[0] if operator == "~" else all(parts) if operator == "&" else any(parts)


@given(expressions, positions(4), positions(3))
def test_combinations_equal_plain_booleans(expression, q_pos, k_pos):
    dense = mask(expression)(q_pos, k_pos).expand(ROWS, 4, 3)
    q_rows, k_rows = q_pos.expand(ROWS, 4).tolist(), k_pos.expand(ROWS, 3).tolist()
    for row, i, j in product(range(ROWS), range(4), range(3)):
        assert bool(dense[row, i, j]) == by_hand(expression, row, q_rows[row][i], k_rows[row][j])


@given(expressions, expressions, positions(3), positions(4))
def test_de_morgan(a, b, q_pos, k_pos):
    def dense(m):
        return m(q_pos, k_pos).expand(ROWS, 3, 4)

    assert torch.equal(dense(~(mask(a) & mask(b))), dense(~mask(a) | ~mask(b)))


@given(st.integers(0, LENGTH), st.integers(1, LENGTH))
def test_causal_after_a_past_is_the_last_rows_of_the_triangle(seen, n):
    past = torch.arange(seen + n)
    triangle = torch.ones(seen + n, seen + n, dtype=torch.bool).tril()
    assert torch.equal(Causal()(past[seen:], past), triangle[seen:])


def test_masks_of_equal_parts_are_equal():
    assert Causal() & Causal() == Causal() & Causal()
    assert Causal() | Causal() != Causal() & Causal()
