"""Dense attention is its formula, and the fused kernel is what is written out."""

from __future__ import annotations

import pytest
import torch

from sublayer.layers import attend
from sublayer.layers.attend import Dense, mix
from sublayer.layers.frame import Frame
from sublayer.layers.mask import Causal, Mask, Padding
from sublayer.layers.position import Position
from sublayer.layers.score import Additive, ContentBased, Dot, General, LocationBased, ScaledDot

B, H, N, D = 2, 4, 5, 3
VALID = torch.tensor([[True, True, True, True, True], [True, True, True, False, False]])
NOBODY = torch.tensor([[True, True, True, True, True], [False, False, False, False, False]])

MASKS = {
    "none": None,
    "causal": Causal(),
    "padding": Padding(VALID),
    "causal and padding": Causal() & Padding(VALID),
    "a row that sees nobody": Padding(NOBODY),
}
DOT_FORMS = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": lambda: General(D, D),
    "content": ContentBased,
}
SCORES = DOT_FORMS | {
    "additive": lambda: Additive(D, D, 2),
    "location": lambda: LocationBased(D, N),
}


class Slope(Position):
    """A toy scheme: heads lose interest with distance, at learned rates."""

    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.rand(H, 1, 1))

    def bias(self, q_pos, k_pos):
        return -self.rate * (q_pos.unsqueeze(-1) - k_pos).abs()  # h q k


def heads(n_kv_heads=H):
    q = torch.randn(B, H, N, D, requires_grad=True)
    k, v = (torch.randn(B, n_kv_heads, N, D, requires_grad=True) for _ in range(2))
    return q, k, v


def frame(mask, position=None):
    positions = torch.arange(N)
    return Frame(positions, positions, mask, position)


def outcome(part, inputs, where):
    """The output, and the gradient of everything that has one, of a weighted sum of it."""
    out = part(*inputs, where)
    scheme = [] if where.position is None else where.position.parameters()
    weighting = torch.linspace(-1, 1, out.numel()).view_as(out)
    gradients = torch.autograd.grad((out * weighting).sum(), [*inputs, *part.parameters(), *scheme])
    return out, *gradients


@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("score", DOT_FORMS)
def test_fused_equals_written_out(monkeypatch, score, mask, n_kv_heads, biased):
    part, inputs, position = (
        Dense(DOT_FORMS[score]()),
        heads(n_kv_heads),
        Slope() if biased else None,
    )
    written_out = Dense(part.score, fused=False)
    expected = outcome(written_out, inputs, frame(MASKS[mask], position))
    monkeypatch.setattr(attend, "SHORT", 0)
    monkeypatch.setattr(attend, "mix", None)  # so that nothing but the kernel can answer
    for got, wanted in zip(
        outcome(part, inputs, frame(MASKS[mask], position)), expected, strict=True
    ):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("n_kv_heads", [4, 2])
@pytest.mark.parametrize("mask", ["none", "causal", "causal and padding"])
@pytest.mark.parametrize("score", SCORES)
def test_equals_the_formula_query_by_query(score, mask, n_kv_heads):
    part, (q, k, v), slope = Dense(SCORES[score]()), heads(n_kv_heads), Slope()
    where = frame(MASKS[mask], slope)
    out, bias = part(q, k, v, where), slope.bias(where.q_pos, where.k_pos)
    for b in range(B):
        for h in range(H):
            g = h * n_kv_heads // H
            scores = part.score(q[b, h], k[b, g]) + bias[h]
            for i in range(N):
                seen = [
                    j
                    for j in range(N)
                    if ("causal" not in mask or j <= i) and ("padding" not in mask or VALID[b, j])
                ]
                odds = {j: float(scores[i, j].exp()) for j in seen}
                expected = sum(odds[j] / sum(odds.values()) * v[b, g, j] for j in seen)
                torch.testing.assert_close(out[b, h, i], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
def test_a_query_that_sees_nobody_gets_zeros_and_gives_zero_gradients(monkeypatch, fused, biased):
    monkeypatch.setattr(attend, "SHORT", 0)
    inputs, position = heads(), Slope() if biased else None
    out, *gradients = outcome(
        Dense(fused=fused), inputs, frame(MASKS["a row that sees nobody"], position)
    )
    assert torch.equal(out[1], torch.zeros_like(out[1]))
    for gradient in gradients[:3]:
        assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_mix_spreads_all_weight_over_the_allowed():
    class Odd(Mask):
        def __call__(self, q_pos, k_pos):
            return (q_pos.unsqueeze(-1) + k_pos) % 2 == 0

    scores = torch.tensor([[1.0, 50.0, 1.0], [-1e4, 3.0, 2.0]])
    weights = mix(scores, Frame(torch.arange(2), torch.arange(3), Odd()))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]))


@pytest.mark.parametrize("mask", MASKS)
def test_listening_at_the_weights_changes_nothing(mask):
    part, inputs, heard = Dense(), heads(), []
    unheard = part(*inputs, frame(MASKS[mask]))
    part.weights.register_forward_hook(lambda module, given, weights: heard.append(weights))
    torch.testing.assert_close(part(*inputs, frame(MASKS[mask])), unheard, atol=1e-6, rtol=1e-5)
    sums = torch.ones(B, H, N)
    if mask == "a row that sees nobody":
        sums[1] = 0
    torch.testing.assert_close(heard[0].sum(-1), sums)


def test_a_hook_may_replace_the_weights():
    part, (q, k, v) = Dense(), heads()
    part.weights.register_forward_hook(
        lambda module, given, weights: torch.eye(N).expand_as(weights)
    )
    torch.testing.assert_close(part(q, k, v, frame(Causal())), v)


@pytest.mark.parametrize("mask", ["causal", "causal and padding"])
def test_bfloat16_stays_bfloat16(mask):
    part, inputs = Dense(), heads()
    exact, rounded = part(*inputs, frame(MASKS[mask])), [t.bfloat16() for t in inputs]
    out = part(*rounded, frame(MASKS[mask]))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), exact, atol=0.05, rtol=0.05)


def test_dropout_takes_weights_in_training_only():
    part, (q, k, _) = Dense(dropout=0.5), heads()
    ones = torch.ones(B, H, N, D)
    everybody = frame(None)
    torch.testing.assert_close(part.eval()(q, k, ones, everybody), ones)
    part.train()
    draws = torch.stack([part(q, k, ones, everybody) for _ in range(400)])
    assert draws.std(0).min() > 0.1
    # the weights of a query sum to 1, so a draw deviates by at most 1 and the mean by 1 / 20
    torch.testing.assert_close(draws.mean(0), ones, atol=0.25, rtol=0)
