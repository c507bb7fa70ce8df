"""Dropout zeroes the share it says, without bias, in every place."""

from __future__ import annotations

import math

import pytest
import torch

from sublayer.layers.dropout import Dropout, keep_mask

N = 2**18
SIGMAS = 5  # one draw in two million lies further out


@pytest.mark.parametrize("dropped", [1, 26, 77, 128, 255])
def test_keep_mask_drops_its_share_in_every_byte_of_a_draw(dropped):
    mask, p = keep_mask(torch.Size([N]), dropped, torch.float32), dropped / 256
    assert mask.unique().tolist() == [0.0, pytest.approx(256 / (256 - dropped))]
    shares = (mask == 0).view(-1, 8).float().mean(0)  # one 64-bit draw decides eight in a row
    bound = SIGMAS * math.sqrt(p * (1 - p) / (N / 8))
    torch.testing.assert_close(shares, torch.full((8,), p), atol=bound, rtol=0)


def test_neighbours_are_dropped_independently():
    p, dropped = 0.5, (keep_mask(torch.Size([N]), 128, torch.float32) == 0).float()
    for apart in (1, 2, 4, 8):
        both = (dropped[apart:] * dropped[:-apart]).mean()
        assert abs(both - p * p) < SIGMAS * math.sqrt(p * p * (1 - p * p) / N) * 1.5


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_the_mean_stays(p):
    out = Dropout(p)(torch.ones(N))
    assert abs(out.mean() - 1) < SIGMAS * math.sqrt(p / (1 - p) / N) * 1.1  # the share is rounded
    assert abs((out == 0).float().mean() - p) < 1 / 512 + SIGMAS * math.sqrt(p * (1 - p) / N)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 5), (3, 0, 2)])
def test_any_shape_and_type(shape):
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        out = Dropout(0.5)(torch.ones(shape, dtype=dtype))
        assert (out.shape, out.dtype) == (torch.Size(shape), dtype)


def test_the_seed_decides():
    torch.manual_seed(1)
    first = Dropout(0.3)(torch.ones(100))
    assert not torch.equal(Dropout(0.3)(torch.ones(100)), first)
    torch.manual_seed(1)
    assert torch.equal(Dropout(0.3)(torch.ones(100)), first)


def test_gradients_are_dropped_alike():
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out)


def test_identity_when_evaluating_and_at_zero():
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan])
def test_shares_outside_zero_to_one_are_refused(p):
    with pytest.raises(ValueError, match=f"dropout must be in \\[0, 1\\), got {p}"):
        Dropout(p)
