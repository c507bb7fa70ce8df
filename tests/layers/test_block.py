"""Embedding, feed-forward, stack and initialization: each a line of the paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import FeedForward, GatedFeedForward
from sublayer.layers.init import glorot
from sublayer.layers.mask import Causal
from sublayer.layers.position import Sinusoidal, sinusoids
from sublayer.layers.residual import PostNorm
from sublayer.layers.state import State

M, N = 8, 6


def block():
    def residual(layer):
        return PostNorm(layer, nn.LayerNorm(M))

    return Block(residual(SelfAttention(M, 2)), residual(FeedForward(M, 16)))


def test_embeddings_are_multiplied_by_the_root_of_the_width():
    table, ids = nn.Embedding(10, M), torch.tensor([[3, 0, 9]])
    torch.testing.assert_close(
        TokenEmbedding(table, math.sqrt(M))(ids), table.weight[ids] * math.sqrt(M)
    )
    torch.testing.assert_close(TokenEmbedding(table)(ids), table.weight[ids])


@pytest.mark.parametrize("act", [F.relu, F.gelu])
def test_feed_forward_is_two_products_and_an_activation(act):
    layer, x = FeedForward(M, 3 * M, act), torch.randn(2, N, M)
    hidden = act(x @ layer.up.weight.T + layer.up.bias)
    torch.testing.assert_close(layer(x), hidden @ layer.down.weight.T + layer.down.bias)


def test_a_stack_adds_positions_drops_out_and_ends_with_its_norm():
    norm, x = nn.LayerNorm(M), torch.randn(2, N, M)
    torch.testing.assert_close(Stack([], Sinusoidal(N, M), norm)(x), norm(x + sinusoids(N, M)))
    stack = Stack([], Sinusoidal(N, M), dropout=0.5)
    torch.manual_seed(5)
    got = stack(x)
    torch.manual_seed(5)
    assert torch.equal(got, stack.dropout(x + sinusoids(N, M)))


def test_a_stack_is_its_blocks_in_a_row():
    blocks, x = [block(), block()], torch.randn(2, N, M)
    alone = [Stack([b], Sinusoidal(N, M)) for b in blocks]
    first = alone[0](x, Causal())
    expected = alone[1](first - sinusoids(N, M), Causal())  # whose positions are added once more
    torch.testing.assert_close(
        Stack(blocks, Sinusoidal(N, M))(x, Causal()), expected, atol=1e-5, rtol=1e-5
    )


def test_a_stack_counts_what_its_state_has_seen():
    stack, state, x = Stack([block()], Sinusoidal(2, M)), State(), torch.randn(2, N, M)
    parts = [stack(part, Causal(), state=state) for part in x.split([3, 1, 2], 1)]
    assert state.seen == N
    torch.testing.assert_close(torch.cat(parts, 1), stack(x, Causal()))


@torch.no_grad()
def test_glorot_bounds_matrices_and_gives_scaled_embeddings_unit_variance():
    part = nn.Sequential(nn.Linear(64, 256), nn.Embedding(500, 64), nn.LayerNorm(64))
    glorot(part)
    bound = math.sqrt(6 / (64 + 256))
    assert 0.95 * bound < part[0].weight.abs().max() <= bound
    assert torch.equal(part[0].bias, torch.zeros(256))
    assert TokenEmbedding(part[1], math.sqrt(part[1].embedding_dim))(
        torch.arange(500)
    ).std() == pytest.approx(1, abs=0.05)
    assert torch.equal(part[2].weight, torch.ones(64))


@pytest.mark.parametrize("act", [F.silu, F.gelu])
def test_gated_feed_forward_is_its_formula(act):
    layer, x = GatedFeedForward(M, 12, act), torch.randn(2, 3, M)
    expected = (act(x @ layer.gate.weight.T) * (x @ layer.up.weight.T)) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), expected)
