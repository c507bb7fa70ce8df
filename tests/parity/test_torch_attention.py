"""Multi-head attention equals `torch.nn.MultiheadAttention` with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.frame import Frame
from sublayer.layers.mask import Causal, Padding

B, N, K, M, H = 2, 5, 7, 12, 3
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def twins(kind, fused=True):
    """Our attention and torch's, with the same weights; biases are not zero."""
    ours = kind(
        M, H, attend=Dense(fused=fused)
    ).eval()  # a CPU trains short sequences without the kernel
    theirs = nn.MultiheadAttention(M, H, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([x.weight for x in (ours.q, ours.k, ours.v)]))
        theirs.in_proj_bias.copy_(torch.cat([x.bias for x in (ours.q, ours.k, ours.v)]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    return ours, theirs


def valid(n):
    """The second row ends with two paddings."""
    return torch.arange(n) < torch.tensor([[n], [n - 2]])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(causal, padded, fused):
    (ours, theirs), x, positions = (
        twins(SelfAttention, fused),
        torch.randn(B, N, M),
        torch.arange(N),
    )
    masks = [Causal()] * causal + [Padding(valid(N))] * padded
    mask = masks[0] & masks[-1] if masks else None
    expected, _ = theirs(
        x,
        x,
        x,
        key_padding_mask=~valid(N) if padded else None,
        attn_mask=torch.ones(N, N, dtype=torch.bool).triu(1) if causal else None,
        need_weights=False,
    )
    torch.testing.assert_close(ours(x, Frame(positions, positions, mask)), expected, **CLOSE)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("padded", [False, True])
def test_cross_attention(padded, fused):
    (ours, theirs), x, memory = (
        twins(CrossAttention, fused),
        torch.randn(B, N, M),
        torch.randn(B, K, M),
    )
    frame = Frame(torch.arange(N), torch.arange(K), Padding(valid(K)) if padded else None)
    expected, _ = theirs(
        x, memory, memory, key_padding_mask=~valid(K) if padded else None, need_weights=False
    )
    torch.testing.assert_close(ours(x, memory, frame), expected, **CLOSE)


def test_weights_at_the_tap():
    (ours, theirs), x, memory, heard = (
        twins(CrossAttention),
        torch.randn(B, N, M),
        torch.randn(B, K, M),
        [],
    )
    ours.attend.weights.register_forward_hook(lambda module, given, weights: heard.append(weights))
    ours(x, memory, Frame(torch.arange(N), torch.arange(K), Padding(valid(K))))
    _, expected = theirs(x, memory, memory, key_padding_mask=~valid(K), average_attn_weights=False)
    torch.testing.assert_close(heard[0], expected, **CLOSE)


def test_gradients():
    (ours, theirs), x, positions = twins(SelfAttention), torch.randn(B, N, M), torch.arange(N)
    ours(x, Frame(positions, positions, Causal())).square().sum().backward()
    future = torch.ones(N, N, dtype=torch.bool).triu(1)
    theirs(x, x, x, attn_mask=future, need_weights=False)[0].square().sum().backward()
    joined = torch.cat([x.weight.grad for x in (ours.q, ours.k, ours.v)])
    torch.testing.assert_close(joined, theirs.in_proj_weight.grad, **CLOSE)
    torch.testing.assert_close(ours.out.weight.grad, theirs.out_proj.weight.grad, **CLOSE)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("n_kv_heads", [1, 2])
def test_few_key_heads_are_many_that_repeat(n_kv_heads, fused):
    heads, width = 4, M // 4
    few = SelfAttention(M, heads, n_kv_heads=n_kv_heads, attend=Dense(fused=fused)).eval()
    many = SelfAttention(M, heads)
    weights = few.state_dict()
    for name in ("k.weight", "k.bias", "v.weight", "v.bias"):
        by_head = weights[name].unflatten(0, (n_kv_heads, width))
        weights[name] = by_head.repeat_interleave(heads // n_kv_heads, 0).flatten(0, 1)
    many.load_state_dict(weights)
    x, positions = torch.randn(B, N, M), torch.arange(N)
    frame = Frame(positions, positions, Causal() & Padding(valid(N)))
    torch.testing.assert_close(few(x, frame), many(x, frame), **CLOSE)


def test_heads_may_be_wider_than_their_share():
    layer, x, positions = SelfAttention(M, 2, d_head=20), torch.randn(B, N, M), torch.arange(N)
    assert layer.q.weight.shape == (40, M)
    assert layer(x, Frame(positions, positions)).shape == x.shape


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match="d_model 12 is not divisible by n_heads 5; change one or give d_head"
    ):
        SelfAttention(12, 5)
    with pytest.raises(ValueError, match="n_heads 4 is not divisible by n_kv_heads 3"):
        SelfAttention(12, 4, n_kv_heads=3)
