from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublayer.layers.tree import HierarchicalSoftmax, huffman

COUNTS = st.lists(st.integers(0, 50), min_size=2, max_size=7)


def code(parent: list[int], side: list[int], word: int, v: int) -> str:
    node, turns = v - 1 + word, ""
    while node:
        turns = str(side[node]) + turns
        node = parent[node]
    return turns


def codes(counts: list[int]) -> list[str]:
    parent, side = (tensor.tolist() for tensor in huffman(counts))
    return [code(parent, side, word, len(counts)) for word in range(len(counts))]


def least_cost(counts: tuple[int, ...]) -> int:
    """Of all binary trees over the words: the least sum of count times depth."""

    @cache
    def best(words: frozenset[int]) -> int:
        if len(words) == 1:
            return 0
        first, *rest = sorted(words)
        parts = (
            frozenset([first, *some])
            for k in range(len(rest))
            for some in itertools.combinations(rest, k)
        )
        return sum(counts[w] for w in words) + min(best(p) + best(words - p) for p in parts)

    return best(frozenset(range(len(counts))))


@given(counts=COUNTS)
def test_no_tree_has_a_smaller_mean_depth(counts):
    found = codes(counts)
    assert sum(n * len(c) for n, c in zip(counts, found, strict=True)) == least_cost(tuple(counts))


@given(counts=st.lists(st.integers(0, 1000), min_size=2, max_size=60))
def test_no_code_begins_another_and_all_places_are_taken(counts):
    found = codes(counts)
    assert len(set(found)) == len(counts)
    assert not any(a != b and b.startswith(a) for a, b in itertools.product(found, found))
    assert math.isclose(sum(2.0 ** -len(c) for c in found), 1)


def grown(v: int = 11, m: int = 5) -> HierarchicalSoftmax:
    part = HierarchicalSoftmax(v, m).double()
    part.plant([3, 0, 0, 50, 8, 8, 1, 1, 20, 2, 7][:v])
    torch.nn.init.normal_(part.nodes.weight)
    return part


@pytest.mark.parametrize("planted", [False, True])
@pytest.mark.parametrize("v", [2, 3, 8, 11])
def test_probabilities_sum_to_one(v, planted):
    part = HierarchicalSoftmax(v, 5).double()
    torch.nn.init.normal_(part.nodes.weight, std=3)
    if planted:
        part.plant(range(v))
    total = part.log_probabilities(torch.randn(20, 5, dtype=torch.float64)).exp().sum(-1)
    assert (total - 1).abs().max() < 1e-10


@torch.no_grad()
def test_the_loss_equals_the_product_of_turns_in_loops():
    """Mikolov et al. 2013b, eq. 3, word by word from the root."""
    part = grown()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    ids = torch.tensor([[0, 3, 4, 10], [9, 9, 1, 3]])
    near = torch.rand(2, 3, 4) < 0.6
    expected = 0.0
    for g, t, s in itertools.product(range(2), range(3), range(4)):
        if near[g, t, s]:
            turns = code(part.parent.tolist(), part.side.tolist(), int(ids[g, s]), 11)
            node = 0
            for turn in turns:
                score = float(part.nodes.weight[node] @ x[g, t])
                expected -= math.log(1 / (1 + math.exp(-score if turn == "0" else score)))
                children = [n for n in range(1, 21) if part.parent[n] == node]
                (node,) = (n for n in children if str(int(part.side[n])) == turn)
            assert node == 10 + ids[g, s]
    assert float(part.loss(x, ids, near)) == pytest.approx(expected, rel=1e-12)
    single = part.log_probabilities(x.flatten(0, 1)).unflatten(0, (2, 3))
    taken = single.gather(2, ids.unsqueeze(1).expand(2, 3, 4))
    assert float(-(taken * near).sum()) == pytest.approx(expected, rel=1e-12)


def test_frequent_words_are_near_the_root():
    part = grown()
    depth = part.paths(torch.arange(11))[2].sum(-1)
    counts = np.array([3, 0, 0, 50, 8, 8, 1, 1, 20, 2, 7])
    assert depth[3] == 1
    for a, b in itertools.product(range(11), range(11)):
        assert counts[a] <= counts[b] or depth[a] <= depth[b]
