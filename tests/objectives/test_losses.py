"""Smoothed cross-entropy equals torch's and the paper's formula, gradients too, in any chunks."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from sublayer.objectives import losses
from sublayer.objectives.losses import smoothed_cross_entropy

T, M, V = 13, 6, 11


def example(dtype=torch.float64, t=T):
    hidden = torch.randn(t, M, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, M, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(V, (t,))


def outcome(loss, hidden, weight, by=1.0):
    return loss, *torch.autograd.grad(loss * by, [hidden, weight])


def assert_equals_torch(dtype, smoothing, **close):
    hidden, weight, targets = example(dtype)
    expected = F.cross_entropy(
        hidden @ weight.T, targets, label_smoothing=smoothing, reduction="sum"
    )
    total, nll = smoothed_cross_entropy(hidden, weight, targets, smoothing)
    pairs = zip(
        outcome(total, hidden, weight, 0.3), outcome(expected, hidden, weight, 0.3), strict=True
    )
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, **close)
    torch.testing.assert_close(
        nll, F.cross_entropy(hidden @ weight.T, targets, reduction="sum"), **close
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradients_equal_torchs(dtype, smoothing):
    assert_equals_torch(dtype, smoothing)


@pytest.mark.parametrize("block", [1, V, 2 * V, 10**6])
@pytest.mark.parametrize("chunk", [1, 3 * V, 4 * V, T * V, 10**6])
def test_chunks_leave_no_seam(monkeypatch, chunk, block):
    monkeypatch.setattr(losses, "CHUNK", chunk)
    monkeypatch.setattr(losses, "ROWS", 1)
    monkeypatch.setattr(losses, "BLOCK", block)
    assert_equals_torch(torch.float64, 0.1)


def test_equals_the_formula_token_by_token():
    hidden, weight, targets = (t.detach() for t in example())
    smoothing, total = 0.2, 0.0
    for h, target in zip(hidden, targets.tolist(), strict=True):
        scores = [
            math.exp(sum(a * b for a, b in zip(h.tolist(), w, strict=True)))
            for w in weight.tolist()
        ]
        for token, score in enumerate(scores):
            q = (1 - smoothing) * (token == target) + smoothing / V
            total -= q * math.log(score / sum(scores))
    assert smoothed_cross_entropy(hidden, weight, targets, smoothing)[0].item() == pytest.approx(
        total
    )


def test_gradcheck():
    hidden, weight, targets = example(t=4)
    assert gradcheck(lambda h, w: smoothed_cross_entropy(h, w, targets, 0.1)[0], (hidden, weight))


def test_backward_may_run_twice_and_no_further():
    hidden, weight, targets = example()
    total, nll = smoothed_cross_entropy(hidden, weight, targets, 0.1)
    once = torch.autograd.grad(total, [hidden, weight], retain_graph=True)
    again = torch.autograd.grad(total * 2, [hidden, weight], retain_graph=True)
    for a, b in zip(once, again, strict=True):
        torch.testing.assert_close(2 * a, b)
    assert not nll.requires_grad
    slope = torch.autograd.grad(
        total, hidden, torch.ones_like(total, requires_grad=True), create_graph=True
    )[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("which", [0, 1])
def test_one_input_may_be_constant(which):
    inputs, targets = list(example()[:2]), torch.randint(V, (T,))
    inputs[1 - which] = inputs[1 - which].detach()
    expected = F.cross_entropy(
        inputs[0] @ inputs[1].T, targets, label_smoothing=0.1, reduction="sum"
    )
    total, _ = smoothed_cross_entropy(*inputs, targets, 0.1)
    got, wanted = (torch.autograd.grad(loss, inputs[which])[0] for loss in (total, expected))
    torch.testing.assert_close(got, wanted)


def test_far_apart_logits_do_not_overflow():
    hidden, weight, targets = example(torch.float32)
    far = (hidden * 1e4).detach().requires_grad_()
    expected = F.cross_entropy(far @ weight.T, targets, label_smoothing=0.1, reduction="sum")
    total, _ = smoothed_cross_entropy(far, weight, targets, 0.1)
    for got, wanted in zip(
        outcome(total, far, weight), outcome(expected, far, weight), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_bfloat16_autocast_keeps_sums_and_gradients_in_float32():
    hidden, weight, targets = example(torch.float32)
    exact = outcome(smoothed_cross_entropy(hidden, weight, targets, 0.1)[0], hidden, weight)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = smoothed_cross_entropy(hidden, weight, targets, 0.1)
    for got, wanted in zip(outcome(total, hidden, weight), exact, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=0.03, atol=0.05)


def test_without_gradients_none_are_made(monkeypatch):
    hidden, weight, targets = example()
    expected = smoothed_cross_entropy(hidden, weight, targets, 0.1)
    monkeypatch.setattr(torch, "mm", None)  # the product that makes the gradient of `hidden`
    with torch.no_grad():
        total, nll = smoothed_cross_entropy(hidden, weight, targets, 0.1)
    assert not total.requires_grad
    torch.testing.assert_close((total, nll), tuple(x.detach() for x in expected))


def test_no_tokens_no_loss():
    hidden, weight, targets = example(t=0)
    total, nll = smoothed_cross_entropy(hidden, weight, targets, 0.1)
    assert (total.item(), nll.item()) == (0, 0)


def test_a_bias_of_the_head_counts_and_has_its_gradient():
    hidden, weight, targets = example()
    bias = torch.randn(V, dtype=torch.float64, requires_grad=True)
    logits = hidden @ weight.T + bias
    expected = F.cross_entropy(logits, targets, label_smoothing=0.1, reduction="sum")
    total, nll = smoothed_cross_entropy(hidden, weight, targets, 0.1, bias)
    leaves = [hidden, weight, bias]
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(nll, F.cross_entropy(logits, targets, reduction="sum"))
    torch.testing.assert_close(
        torch.autograd.grad(total, leaves), torch.autograd.grad(expected, leaves)
    )
