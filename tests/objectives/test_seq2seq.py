"""The objective of padded batches equals a plain computation, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sublayer.data.batch import collate
from sublayer.models.base import build
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.text.special import Special

V, SMOOTHING, R_DROP = 11, 0.1, 2.0
PAIRS = [([5, 6, 7], [4, 5]), ([8], [9, 9, 10, 3]), ([4, 10, 3, 3, 6], [])]
SPECIAL = Special()


def batch(pairs=PAIRS):
    return collate(
        [(np.array(s, np.int64), np.array(t, np.int64)) for s, t in pairs], SPECIAL, SPECIAL
    )


def network(dropout=0.0):
    return build(
        "transformer",
        vocab_size=V,
        d_model=8,
        n_layers=1,
        n_heads=2,
        d_ff=16,
        dropout=dropout,
        tied="none",
    )


def plain(model, label_smoothing):
    """Sum over pairs, each alone and so without padding."""
    total = torch.zeros(())
    for source, target in PAIRS:
        logits = model(torch.tensor([[*source, 2]]), torch.tensor([[1, *target]]))[0]
        wanted = torch.tensor([*target, 2])
        total = total + F.cross_entropy(
            logits, wanted, label_smoothing=label_smoothing, reduction="sum"
        )
    return total


def gradients(loss, model):
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("label_smoothing", [0.0, SMOOTHING])
def test_equals_pairs_alone(label_smoothing):
    model = network()
    loss = Seq2Seq(label_smoothing)(model, batch())
    expected = plain(model, label_smoothing)
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.parts["nll"], plain(model, 0.0).detach())
    assert loss.tokens == sum(len(target) + 1 for _, target in PAIRS)
    for got, wanted in zip(gradients(loss.total, model), gradients(expected, model), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_sums_and_tokens_of_parts_add_up_to_the_whole():
    model, objective = network(), Seq2Seq(SMOOTHING)
    whole, parts = objective(model, batch()), [objective(model, batch([pair])) for pair in PAIRS]
    torch.testing.assert_close(whole.total, sum(part.total for part in parts))
    torch.testing.assert_close(whole.parts["nll"], sum(part.parts["nll"] for part in parts))
    assert whole.tokens == sum(part.tokens for part in parts)


def test_an_untrained_model_is_as_surprised_as_a_coin_with_v_sides():
    torch.manual_seed(1)
    model = build(
        "transformer", vocab_size=1000, d_model=64, n_layers=2, n_heads=4, d_ff=128
    ).eval()
    loss = Seq2Seq(0.0)(model, batch())
    assert loss.total.item() / loss.tokens == pytest.approx(np.log(1000), rel=0.15)


def test_r_drop_equals_its_formula():
    model, data = network(dropout=0.3), batch()
    torch.manual_seed(7)
    loss = Seq2Seq(SMOOTHING, R_DROP)(model, data)

    torch.manual_seed(7)
    twice = [torch.cat([x, x]) for x in (data.source, data.target_in, data.source_valid)]
    one, two = model(*twice).chunk(2)
    entropy = divergence = nll = torch.zeros(())
    for row, at in data.target_valid.nonzero().tolist():
        a, b, target = one[row, at], two[row, at], data.target_out[row, at]
        for logits in (a, b):
            entropy = entropy + F.cross_entropy(logits, target, label_smoothing=SMOOTHING) / 2
            nll = nll + F.cross_entropy(logits, target) / 2
        p, q = a.softmax(-1), b.softmax(-1)
        divergence = divergence + ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 2
    assert divergence > 0.01
    torch.testing.assert_close(loss.total, entropy + R_DROP * divergence)
    torch.testing.assert_close(loss.parts["nll"], nll.detach())
    torch.testing.assert_close(loss.parts["divergence"], divergence.detach())
    assert loss.tokens == data.tokens


def test_r_drop_is_for_training_only():
    model = network(dropout=0.3).eval()
    with_it, without = (Seq2Seq(SMOOTHING, r)(model, batch()) for r in (R_DROP, 0.0))
    assert torch.equal(with_it.total, without.total)
    assert "divergence" not in with_it.parts


def test_without_dropout_two_passes_are_one():
    model = network()
    with_it, without = (Seq2Seq(SMOOTHING, r)(model, batch()) for r in (R_DROP, 0.0))
    torch.testing.assert_close(with_it.total, without.total)
    assert with_it.parts["divergence"] == pytest.approx(0, abs=1e-6)


def test_parts_carry_no_gradient():
    for objective in (Seq2Seq(SMOOTHING), Seq2Seq(SMOOTHING, R_DROP)):
        loss = objective(network(dropout=0.3), batch())
        assert loss.total.requires_grad
        assert not any(part.requires_grad for part in loss.parts.values())
