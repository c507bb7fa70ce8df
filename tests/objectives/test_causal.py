"""Language models: the loss is the formula's, and that of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sublayer.data.batch import Labelled, collate
from sublayer.models.base import build
from sublayer.objectives.causal import Causal
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.text.special import Special


def windows(ids: torch.Tensor) -> Labelled:
    inputs, labels = ids[:, :-1], ids[:, 1:]
    return Labelled(inputs, None, None, labels, labels.numel(), labels.numel())


@pytest.fixture
def model():
    return build("gpt", vocab_size=23, d_model=16, n_layers=1, n_heads=2).eval()


@pytest.mark.parametrize(
    ("family", "theirs"), [("gpt", "GPT2LMHeadModel"), ("llama", "LlamaForCausalLM")]
)
def test_equals_transformers(both, ids, family, theirs):
    network, other = both(family, theirs)
    loss = Causal()(network, windows(ids))
    expected = other(ids, labels=ids).loss  # which moves the labels itself
    torch.testing.assert_close(loss.total / loss.tokens, expected, atol=1e-5, rtol=1e-5)
    assert loss.tokens == 4 * 8


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_equals_the_formula(model, ids, smoothing):
    loss = Causal(smoothing)(model, windows(ids))
    total = nll = torch.zeros(())
    for row in ids:
        for place in range(1, len(row)):
            logits = model(row[None, :place])[0, -1]
            total = total + F.cross_entropy(logits, row[place], label_smoothing=smoothing)
            nll = nll + F.cross_entropy(logits, row[place])
    torch.testing.assert_close(loss.total, total, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(loss.parts["nll"], nll.detach(), atol=1e-4, rtol=1e-5)


def test_gradients_are_those_of_plain_pytorch(model, ids):
    loss = Causal(0.1)(model, windows(ids)).total
    plain = F.cross_entropy(
        model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="sum", label_smoothing=0.1
    )
    weights = list(model.parameters())
    for ours, expected in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(plain, weights), strict=True
    ):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_parts_of_a_batch_add_up(model, ids):
    whole = Causal()(model, windows(ids))
    parts = [Causal()(model, windows(part)) for part in (ids[:1], ids[1:])]
    torch.testing.assert_close(whole.total, sum(part.total for part in parts))
    assert whole.tokens == sum(part.tokens for part in parts)
    assert not whole.parts["nll"].requires_grad


def test_spans_equal_t5(both, ids):
    """What T5 is trained with is teacher forcing; its targets begin with padding."""
    network, theirs = both("t5", "T5ForConditionalGeneration", d_head=8)
    theirs.config.decoder_start_token_id = 0
    rows = [(row[: 3 + i].numpy(), row[5 : 6 + i].numpy()) for i, row in enumerate(ids)]
    batch = collate([(np.array(a), np.array(b)) for a, b in rows], Special(), Special(bos=0))
    loss = Seq2Seq(0.0)(network, batch)
    labels = batch.target_out.masked_fill(~batch.target_valid, -100)
    expected = theirs(batch.source, attention_mask=batch.source_valid.long(), labels=labels).loss
    torch.testing.assert_close(loss.total / loss.tokens, expected, atol=1e-5, rtol=1e-5)
