"""Weights over few keys."""

import pytest
import torch

from sublayer.layers.softmax import WIDE, softmax


@pytest.mark.parametrize("k", [1, 5, WIDE - 1, WIDE, WIDE + 3])
def test_equals_pytorchs_and_so_does_its_gradient(k: int) -> None:
    scores = torch.randn(2, 3, 4, k, dtype=torch.float32)
    ours, theirs = (scores.clone().requires_grad_() for _ in range(2))
    weights, expected = softmax(ours), theirs.softmax(-1)
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-5)
    upstream = torch.randn_like(scores)
    weights.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)


def test_hidden_keys_get_nothing_and_the_type_stays() -> None:
    scores = torch.randn(3, 6).bfloat16()
    scores[1, 2:] = -torch.inf
    weights = softmax(scores)
    assert weights.dtype == torch.bfloat16
    assert not weights[1, 2:].any()
    torch.testing.assert_close(weights.float().sum(-1), torch.ones(3), atol=1e-2, rtol=0)


def test_a_row_that_sees_nobody_is_nan_as_in_pytorch() -> None:
    hidden = torch.full((1, 4), -torch.inf)
    assert bool(softmax(hidden).isnan().all()) == bool(hidden.softmax(-1).isnan().all())


def test_float64_stays_exact() -> None:
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(softmax, scores)
