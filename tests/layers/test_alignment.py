"""Attention of a recurrent decoder, against its formulas in loops."""

from __future__ import annotations

import math

import pytest
import torch

from sublayer.layers.alignment import Alignment, Monotonic, Predictive
from sublayer.layers.score import (
    Additive,
    ContentBased,
    Dot,
    General,
    LocationBased,
    ScaledDot,
)

B, Q, K, D, MAX = 2, 3, 6, 4, 9
LENGTHS = [6, 4]
ALLOWED = torch.tensor([[[place < length for place in range(K)]] for length in LENGTHS])
SCORES = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": lambda: General(D, D),
    "content": ContentBased,
    "additive": lambda: Additive(D, D, 5),
    "location": lambda: LocationBased(D, MAX),
}
STEPS = torch.tensor([[0, 1, 2], [3, 4, 5]])


def one_score(score, q, k, place):
    """Of one query and one key, from the papers."""
    if isinstance(score, Dot):
        return float(q @ k)
    if isinstance(score, ScaledDot):
        return float(q @ k) / math.sqrt(D)
    if isinstance(score, General):
        return float((score.weight.weight @ q) @ k)
    if isinstance(score, ContentBased):
        return float(score.log_strength.exp() * (q @ k) / (q.norm() * k.norm()))
    if isinstance(score, Additive):
        inner = torch.tanh(score.query.weight @ q + score.key.weight @ k)
        return float(score.energy.weight[0] @ inner)
    return float((score.weight.weight @ q)[place])


def softmax(scores):
    top = max(scores.values())
    total = sum(math.exp(s - top) for s in scores.values())
    return {place: math.exp(s - top) / total for place, s in scores.items()}


def seen(focus, q, step, length):
    """Places that are looked at, and by what their weights are multiplied."""
    if focus is None:
        return dict.fromkeys(range(length), 1.0)
    if isinstance(focus, Monotonic):
        centre = float(min(step, length - 1))
        fade = None
    else:
        inner = torch.tanh(focus.inner.weight @ q)
        centre = length / (1 + math.exp(-float(focus.place.weight[0] @ inner)))
        fade = focus.reach / 2
    return {
        place: 1.0 if fade is None else math.exp(-((place - centre) ** 2) / (2 * fade**2))
        for place in range(length)
        if abs(place - centre) <= focus.reach
    }


FOCI = {
    "global": lambda: None,
    "monotonic": lambda: Monotonic(1),
    "predictive": lambda: Predictive(D, 2),
}


@pytest.mark.parametrize("focus", FOCI)
@pytest.mark.parametrize("score", SCORES)
@torch.no_grad()
def test_weights_and_mixtures_are_those_of_the_formula(score, focus):
    part = Alignment(SCORES[score](), FOCI[focus]())
    rule = None if focus == "global" else part.focus
    q, memory = torch.randn(B, Q, D), torch.randn(B, K, D)
    contexts, weights = part(q, part.keys(memory), memory, ALLOWED, STEPS)
    for b in range(B):
        for i in range(Q):
            places = seen(rule, q[b, i], int(STEPS[b, i]), LENGTHS[b])
            scores = {p: one_score(part.score, q[b, i], memory[b, p], p) for p in places}
            expected = {p: w * places[p] for p, w in softmax(scores).items()}
            for place in range(K):
                assert float(weights[b, i, place]) == pytest.approx(
                    expected.get(place, 0.0), abs=1e-5
                )
            mixture = sum(w * memory[b, p] for p, w in expected.items())
            torch.testing.assert_close(contexts[b, i], mixture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("score", SCORES)
def test_keys_made_once_give_the_same_scores(score):
    part = SCORES[score]()
    q, k = torch.randn(B, 2, D), torch.randn(B, K, D)
    torch.testing.assert_close(part.compare(q, part.keys(k)), part(q, k))


def test_without_padding_all_keys_are_seen():
    part = Alignment(Dot(), Monotonic(1))
    q, memory = torch.randn(B, 1, D), torch.randn(B, K, D)
    steps = torch.full((B, 1), 50)
    _, open_ = part(q, memory, memory, None, steps)
    _, told = part(q, memory, memory, torch.ones(B, 1, K, dtype=torch.bool), steps)
    assert torch.equal(open_, told)
    assert open_[..., K - 2 :].sum() == pytest.approx(B, abs=1e-5)  # it stays at the end


def test_a_window_that_reaches_nothing_is_refused():
    with pytest.raises(ValueError, match="must reach 1 or more, got 0"):
        Monotonic(0)
