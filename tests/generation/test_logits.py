"""Each change to logits equals transformers', alone and one after another."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from sublayer.generation import logits as change
from sublayer.generation.sample import SampleOptions, Sampler

IDS = torch.tensor([[3, 5, 5, 0], [9, 9, 9, 9], [1, 2, 3, 4]])
CLOSE = {"atol": 1e-6, "rtol": 1e-6}


@pytest.fixture(params=range(4))
def logits(request):
    torch.manual_seed(request.param)
    return torch.randn(3, 40) * 3


@pytest.mark.parametrize("t", [0.3, 1.0, 2.5])
def test_temperature(logits, t):
    expected = hf.TemperatureLogitsWarper(t)(IDS, logits)
    torch.testing.assert_close(change.temperature(logits, t), expected, **CLOSE)


@pytest.mark.parametrize("k", [1, 7, 40, 100])
def test_top_k(logits, k):
    expected = hf.TopKLogitsWarper(k)(IDS, logits)
    torch.testing.assert_close(change.top_k(logits, k), expected, **CLOSE)


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.999])
def test_top_p(logits, p):
    expected = hf.TopPLogitsWarper(p)(IDS, logits)
    torch.testing.assert_close(change.top_p(logits, p), expected, **CLOSE)


@pytest.mark.parametrize("p", [0.01, 0.3, 1.0])
def test_min_p(logits, p):
    expected = hf.MinPLogitsWarper(p)(IDS, logits)
    torch.testing.assert_close(change.min_p(logits, p), expected, **CLOSE)


def test_top_k_keeps_ties_and_top_p_only_what_is_needed():
    even = torch.zeros(1, 4)
    assert change.top_k(even, 2).isfinite().all()
    assert change.top_p(even, 0.5).isfinite().sum() == 2
    assert change.top_p(even, 0.1).isfinite().sum() == 1


def test_the_order_is_theirs(logits):
    """The order of their processors is read from what `generate` itself would apply."""
    options = SampleOptions(temperature=0.7, top_k=20, top_p=0.9, min_p=0.02)
    config = hf.GenerationConfig(
        do_sample=True, temperature=0.7, top_k=20, top_p=0.9, min_p=0.02, repetition_penalty=1.2
    )
    tiny = hf.GPT2LMHeadModel(
        hf.GPT2Config(vocab_size=40, n_embd=4, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0)
    )
    expected = tiny._get_logits_processor(config, input_ids_seq_length=4)(IDS, logits)
    penalized = change.RepetitionPenalty(1.2)(logits, change.Past(IDS))
    found = Sampler(options, []).cut(penalized)
    torch.testing.assert_close(found, expected, **CLOSE)
