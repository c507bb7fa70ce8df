"""Every alignment score equals its formula, written with Python loops on plain numbers."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from sublayer.layers.score import Additive, ContentBased, Dot, General, LocationBased, ScaledDot

D_QUERY, D_KEY, WIDTH, N_QUERIES, N_KEYS = 4, 3, 5, 3, 6


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(matrix, vector):
    return [dot(row, vector) for row in matrix.tolist()]


def additive(score, q, k, j):
    joined = zip(times(score.query.weight, q), times(score.key.weight, k), strict=True)
    return dot(score.energy.weight[0].tolist(), [math.tanh(a + b) for a, b in joined])


def content_based(score, q, k, j):
    return math.exp(score.log_strength.item()) * dot(q, k) / math.sqrt(dot(q, q) * dot(k, k))


# how it is made, width of keys, the formula for query vector q and key vector k at place j
SCORES = {
    "dot": (Dot, D_QUERY, lambda score, q, k, j: dot(q, k)),
    "scaled_dot": (ScaledDot, D_QUERY, lambda score, q, k, j: dot(q, k) / math.sqrt(D_QUERY)),
    "general": (
        lambda: General(D_QUERY, D_KEY),
        D_KEY,
        lambda score, q, k, j: dot(times(score.weight.weight, q), k),
    ),
    "content": (ContentBased, D_QUERY, content_based),
    "additive": (lambda: Additive(D_QUERY, D_KEY, WIDTH), D_KEY, additive),
    "location": (
        lambda: LocationBased(D_QUERY, N_KEYS + 2),
        D_KEY,
        lambda score, q, k, j: times(score.weight.weight, q)[j],
    ),
}
DOT_FORMS = ["dot", "scaled_dot", "general", "content"]


def example(name, lead=()):
    """A score in float64 with parameters away from their start; queries, keys and the formula."""
    make, d_key, formula = SCORES[name]
    score = make().double()
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    q = torch.randn(*lead, N_QUERIES, D_QUERY, dtype=torch.float64)
    k = torch.randn(*lead, N_KEYS, d_key, dtype=torch.float64)
    return score, q, k, formula


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=["alone", "batch", "batch and heads"])
@pytest.mark.parametrize("name", SCORES)
def test_equals_its_formula(name, lead):
    score, q, k, formula = example(name, lead)
    expected = torch.empty(*lead, N_QUERIES, N_KEYS, dtype=torch.float64)
    for *at, i, j in product(*map(range, expected.shape)):
        expected[*at, i, j] = formula(score, q[*at, i].tolist(), k[*at, j].tolist(), j)
    torch.testing.assert_close(score(q, k), expected)


@pytest.mark.parametrize("name", SCORES)
def test_gradients_are_right(name):
    score, q, k, _ = example(name, (2,))
    names, parameters = (
        zip(*score.named_parameters(), strict=True) if list(score.parameters()) else ((), ())
    )

    def run(q, k, *values):
        return functional_call(score, dict(zip(names, values, strict=True)), (q, k))

    # a location score looks at the number of keys, not at the keys
    k.requires_grad_(name != "location")
    assert gradcheck(run, (q.requires_grad_(), k, *parameters))


@pytest.mark.parametrize("name", DOT_FORMS)
def test_as_dot_is_the_score(name):
    score, q, k, _ = example(name, (2, 3))
    changed_q, changed_k, scale = score.as_dot(q, k)
    torch.testing.assert_close(scale * changed_q @ changed_k.mT, score(q, k))


@pytest.mark.parametrize("name", sorted(SCORES.keys() - set(DOT_FORMS)))
def test_what_is_no_product_says_so(name):
    score, q, k, _ = example(name)
    assert score.as_dot(q, k) is None


def test_location_refuses_more_keys_than_places():
    with pytest.raises(
        ValueError, match="7 keys, but the location score has 5 places; raise its max_length"
    ):
        LocationBased(4, 5)(torch.zeros(2, 4), torch.zeros(7, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SCORES)
def test_unrolled_steps_are_comparisons_with_their_gradients(name, dtype):
    make, d_key, _ = SCORES[name]
    score, found = make(), []
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    memory = torch.randn(2, N_KEYS, d_key, requires_grad=True)
    first = torch.randn(2, 1, D_QUERY, requires_grad=True)
    leaves = (memory, first, *score.parameters())
    for unrolled in (True, False):
        is_narrow = unrolled and dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16, enabled=is_narrow):
            keys, q, scores = score.keys(memory), first, []
            step = score.unroll(keys, (3, 2, 1))
            for _ in range(3):
                scores.append(step(q) if unrolled else score.compare(q, keys))
                q = torch.tanh(q + scores[-1].mean(-1, keepdim=True))
            loss = torch.cat(scores, 1).float().tanh().sum()
        of_loss = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        found.append([torch.cat(scores, 1).float(), *of_loss])
    close = 1e-5 if dtype == torch.float32 else 0.1
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=close, atol=close)
