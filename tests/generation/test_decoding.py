"""Rows of a decoding move as a search says, of both kinds of model."""

from __future__ import annotations

import pytest
import torch

from sublayer.generation.decoding import FromPrompt, FromSource
from sublayer.models.base import build

TOKENS = torch.tensor([3, 4, 5])
ORDERS = [[2, 0, 1], [0, 0, 2], [1], [2, 2, 1, 0, 0], [0, 1, 2]]


@pytest.fixture(params=["source", "prompt"])
def start(request, network, source):
    """A function that begins anew."""
    if request.param == "source":
        ids, valid = source
        with torch.no_grad():
            memory = network.encode(ids, valid)
        return lambda: FromSource(network, memory, valid, 1)
    torch.manual_seed(0)
    one_part = build("gpt", vocab_size=6, d_model=8, n_layers=1, n_heads=2, max_length=9).eval()
    return lambda: FromPrompt(one_part, [[1, 3, 3, 4], [1], [1, 5]])


@pytest.mark.parametrize("order", ORDERS, ids=str)
@torch.no_grad()
def test_rows_go_on_as_what_they_were(start, order):
    index = torch.tensor(order)
    straight, moved = start(), start()
    torch.testing.assert_close(straight.start(), moved.start())
    moved.reorder(index)
    straight.step(TOKENS)
    moved.step(TOKENS[index])
    moved.reorder(torch.arange(len(index)).flip(0))
    expected = straight.step(TOKENS.flip(0))[index].flip(0)
    found = moved.step(TOKENS.flip(0)[index].flip(0))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@torch.no_grad()
def test_logits_come_in_the_order_that_is_asked_for(start, order):
    one, other = start(), start()
    one.start()
    other.start()
    expected = one.step(TOKENS)[order]
    torch.testing.assert_close(other.step(TOKENS, torch.tensor(order)), expected)
    # and only they do: rows stay where they are
    torch.testing.assert_close(other.step(TOKENS.flip(0)), one.step(TOKENS.flip(0)))


def test_nothing_cannot_be_gone_on_from(network):
    with pytest.raises(AssertionError, match="needs a token to go on from"):
        FromPrompt(build("gpt", vocab_size=6, d_model=8, n_layers=1, n_heads=2), [[1], []])
