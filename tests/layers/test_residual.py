"""`LayerNorm(x + Sublayer(x))`, to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.layers.residual import PostNorm, PreNorm, SandwichNorm

M = 8


def parts():
    norm = nn.LayerNorm(M)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.Linear(M, M), norm, torch.randn(2, 3, M)


def test_post_norm():
    layer, norm, x = parts()
    assert torch.equal(PostNorm(layer, norm)(x), norm(x + layer(x)))


def test_pre_norm():
    layer, norm, x = parts()
    assert torch.equal(PreNorm(layer, norm)(x), x + layer(norm(x)))


def test_sandwich_norm():
    layer, norm, x = parts()
    after = nn.LayerNorm(M, elementwise_affine=False)
    assert torch.equal(SandwichNorm(layer, norm, after)(x), x + after(layer(norm(x))))


@pytest.mark.parametrize("kind", [PostNorm, PreNorm])
def test_dropout_falls_on_the_sublayers_output_alone(kind):
    layer, norm, x = parts()
    residual = kind(layer, norm, dropout=0.5)
    torch.manual_seed(3)
    got = residual(x)
    torch.manual_seed(3)
    branch = residual.dropout(layer(x if kind is PostNorm else norm(x)))
    assert (branch == 0).any()
    assert torch.equal(got, norm(x + branch) if kind is PostNorm else x + branch)
    assert torch.equal(residual.eval()(x), kind(layer, norm)(x))


@pytest.mark.parametrize("kind", [PostNorm, PreNorm])
def test_what_else_is_given_goes_to_the_sublayer(kind):
    class Sum(nn.Module):
        def forward(self, x, a, b):
            return x + a + b

    _, norm, x = parts()
    expected = norm(x + (x + 3)) if kind is PostNorm else x + (norm(x) + 3)
    torch.testing.assert_close(kind(Sum(), norm)(x, 1, 2), expected)


@pytest.mark.parametrize("kind", [PostNorm, PreNorm])
def test_the_stream_is_tapped_after_the_sublayer(kind):
    layer, norm, x = parts()
    residual, heard = kind(layer, norm), []
    residual.stream.register_forward_hook(lambda module, given, out: heard.append(out))
    assert residual(x) is heard[0]
