"""The best of logits, beside PyTorch's sorting of log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sublayer.loops.choose import best_continuations, likeliest

NEVER = np.array([0, 5])
SIZES = [(1, 1, 7), (1, 5, 1000), (3, 4, 64), (2, 3, 65), (4, 2, 129), (8, 5, 800)]


@pytest.mark.parametrize(("texts", "beams", "v"), SIZES)
def test_continuations_are_those_of_all_sorted(texts, beams, v, threads):
    logits, totals = 3 * torch.randn(texts * beams, v), torch.randn(texts, beams)
    wanted = min(2 * beams, 4)
    logp = logits.log_softmax(-1)
    logp[:, NEVER] = -torch.inf
    every = (totals.unsqueeze(2) + logp.view(texts, beams, v)).flatten(1)
    expected, at = every.topk(wanted)
    values, places = best_continuations(totals.numpy(), logits.numpy(), NEVER, wanted)
    torch.testing.assert_close(torch.from_numpy(values), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(torch.from_numpy(places), at)


def test_where_there_are_too_few_nothing_stands():
    totals, logits = np.zeros((1, 2), np.float32), np.zeros((2, 3), np.float32)
    totals[0, 1] = -np.inf
    values, _ = best_continuations(totals, logits, np.array([0]), 4)
    assert np.isfinite(values).tolist() == [[True, True, False, False]]


def test_a_row_without_numbers_is_told_and_others_are_not_touched():
    logits, totals = torch.randn(4, 50), torch.zeros(2, 2)
    expected = best_continuations(totals.numpy(), logits.numpy(), NEVER, 4)[0]
    logits[1, 9] = torch.nan
    found = best_continuations(totals.numpy(), logits.numpy(), NEVER, 4)[0]
    assert np.isnan(found[0]).all()
    assert (found[1] == expected[1]).all()


@pytest.mark.parametrize(("rows", "v"), [(1, 5), (3, 64), (2, 65), (40, 1000)])
def test_the_likeliest_is_allowed_and_has_its_own_probability(rows, v, threads):
    logits = 3 * torch.randn(rows, v)
    allowed = logits.masked_fill(torch.rand(rows, v) < 0.5, -torch.inf)
    allowed[:, 1] = logits[:, 1]
    tokens, logprobs = map(torch.from_numpy, likeliest(logits.numpy(), allowed.numpy()))
    assert torch.equal(tokens, allowed.argmax(1))
    expected = logits.log_softmax(1).gather(1, tokens.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(logprobs, expected, atol=1e-5, rtol=1e-5)


def test_of_equal_ones_the_first_is_taken_and_nan_is_told():
    logits = np.zeros((2, 70), np.float32)
    tokens, logprobs = likeliest(logits, logits)
    assert tokens.tolist() == [0, 0]
    logits[1, 66] = np.nan
    tokens, logprobs = likeliest(logits, logits)
    assert np.isnan(logprobs).tolist() == [False, True]
