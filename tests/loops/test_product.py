"""Products of bytes, beside the same sums in NumPy's whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sublayer.loops.compiled import multiplies_bytes
from sublayer.loops.product import product, round_rows
from sublayer.loops.tables import Product, tiled
from sublayer.surgery.looped import LoopedInt8

pytestmark = pytest.mark.skipif(not multiplies_bytes(), reason="no sums of bytes on this CPU")


def numbers_of(x):
    """What rows become: numbers, and the scale and the zero of each."""
    numbers = np.empty(x.shape, np.uint8)
    rounding = np.empty((len(x), 2), np.float32)
    round_rows(x, 0, len(x), numbers, rounding)
    return numbers.astype(np.int64), rounding[:, :1].astype(float), rounding[:, 1:].astype(np.int64)


def test_numbers_are_within_half_a_step_and_nothing_is_exact():
    x = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    x[1], x[2] = abs(x[1]), 0  # above zero alone, and nothing
    x[:, 3] = 0
    numbers, scale, zero = numbers_of(x)
    assert (abs((numbers - zero) * scale - x) <= 0.501 * scale).all()
    assert (numbers[:, 3:4] == zero).all()
    assert scale[1] == pytest.approx(x[1].max() / 255)


def test_the_largest_of_a_row_is_never_taken_for_the_smallest():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50_000, 64)).astype(np.float32)
    rows[0, :4] = -1, 509, 3, 4  # half a step from zero to the ends
    rows[0, 4:] = 0
    rows[1] = -rows[0]
    numbers, scale, zero = numbers_of(rows)
    assert (abs((numbers - zero) * scale - rows) <= 0.51 * scale).all()


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 8, 9, 31, 40])
@pytest.mark.parametrize(("k", "n"), [(64, 64), (70, 100), (257, 130), (512, 192)])
def test_a_product_is_that_of_the_numbers(rows, k, n, threads):
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (n, k), dtype=np.int8)
    scales, bias = rng.random(n).astype(np.float32), rng.standard_normal(n).astype(np.float32)
    x = rng.standard_normal((rows, k)).astype(np.float32)
    columns = np.zeros((3, -(-n // 64) * 64), np.float32)
    columns[:, :n] = weight.sum(1), scales, bias
    by = Product(tiled(weight), columns.reshape(3, -1, 64), np.float32(-np.inf))
    found = product(x, by, n)
    numbers, scale, zero = numbers_of(x)
    expected = (numbers - zero) @ weight.T.astype(np.int64) * scale * scales + bias
    # a number that lies between two steps may be rounded either way
    np.testing.assert_allclose(found, expected, atol=1.01 * 127 * (scale * scales).max(), rtol=0)
    assert np.median(abs(found - expected)) < 1e-5 * abs(expected).max()


def test_a_layer_is_near_its_floats_with_a_relu_or_without():
    weight = torch.randint(-127, 128, (100, 64), dtype=torch.int8)
    scale, bias, x = torch.rand(100) / 100, torch.randn(100), torch.randn(2, 3, 64)
    expected = x @ (weight * scale.unsqueeze(1)).T + bias
    for act, wanted in (("none", expected), ("relu", expected.relu())):
        found = LoopedInt8(weight, scale, bias, act)(x)
        assert (found - wanted).abs().max() < 0.02 * expected.abs().max()
    without = LoopedInt8(weight, scale, None)(x)
    assert (without + bias - expected).abs().max() < 0.02 * expected.abs().max()


def test_rows_do_not_feel_one_another():
    layer = LoopedInt8(torch.randint(-9, 9, (64, 64), dtype=torch.int8), torch.ones(64), None)
    x = torch.randn(40, 64) * torch.logspace(-3, 3, 40).unsqueeze(1)
    alone = torch.cat([layer(row) for row in x.unsqueeze(1)])
    assert torch.equal(layer(x), alone)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_stays_in_its_row(wrong):
    layer = LoopedInt8(
        torch.randint(-9, 9, (64, 64), dtype=torch.int8), torch.ones(64), None, "relu"
    )
    x = torch.randn(9, 64)
    expected = layer(x)
    x[4, 7] = wrong
    found = layer(x)
    assert not found[4].isfinite().any()
    assert torch.equal(found[:4], expected[:4])
    assert torch.equal(found[5:], expected[5:])
