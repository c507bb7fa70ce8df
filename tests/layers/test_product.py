"""Products by oneDNN are PyTorch's own, gradients too, and are left to it elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.layers import product
from sublayer.layers.product import gathered, is_plain, linear, through, times

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
OURS = torch.ops.mkldnn._linear_pointwise.default


@pytest.fixture(params=["onednn", "own choice"])
def library(request, monkeypatch):
    """Small products too go by oneDNN, or none do."""
    if request.param == "onednn" and not torch.backends.mkldnn.is_available():
        pytest.skip("no oneDNN")
    monkeypatch.setattr(product, "LEAST", 1)
    monkeypatch.setattr(product, "_onednn_is_faster", lambda: request.param == "onednn")
    return request.param


def by_onednn(monkeypatch, run):
    """How many of the products that `run` makes go by oneDNN."""
    calls = []

    def count(*given):
        calls.append(given)
        return OURS(*given)

    monkeypatch.setattr(torch.ops.mkldnn._linear_pointwise, "default", count)
    run()
    return len(calls)


@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("bias", [None, torch.randn(4)])
def test_a_linear_layer_is_pytorchs(library, shape, bias):
    x, weight = torch.randn(shape), torch.randn(4, 5)
    torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias), **CLOSE)
    torch.testing.assert_close(times(x, weight, bias), F.linear(x, weight, bias), **CLOSE)


@pytest.mark.parametrize("frozen", [(), (0,), (1,), (2,), (0, 1)])
def test_so_are_its_gradients(library, frozen):
    def given():
        torch.manual_seed(3)
        tensors = [torch.randn(2, 3, 5), torch.randn(4, 5), torch.randn(4)]
        return [t.requires_grad_(i not in frozen) for i, t in enumerate(tensors)]

    ours, theirs = given(), given()
    grad = torch.randn(2, 3, 4)
    linear(*ours).backward(grad)
    F.linear(*theirs).backward(grad)
    for got, wanted in zip(ours, theirs, strict=True):
        assert (got.grad is None) == (wanted.grad is None)
        if got.grad is not None:
            torch.testing.assert_close(got.grad, wanted.grad, **CLOSE)


@pytest.mark.parametrize(("d_in", "d_out"), [(3, 6), (6, 3)])
def test_a_weights_gradient_is_the_sum_over_all_rows(library, d_in, d_out):
    grad, x = torch.randn(2, 4, d_out), torch.randn(2, 4, d_in)
    rows = zip(grad.view(8, -1), x.view(8, -1), strict=True)
    expected = sum(g[:, None] * r[None] for g, r in rows)
    torch.testing.assert_close(gathered(grad, x), expected, **CLOSE)


def test_only_float32_that_is_worth_it_goes_by_onednn(library, monkeypatch):
    x, weight = torch.randn(3, 5), torch.randn(4, 5)
    expected = int(library == "onednn")
    assert by_onednn(monkeypatch, lambda: times(x, weight)) == expected
    assert by_onednn(monkeypatch, lambda: times(x.bfloat16(), weight.bfloat16())) == 0
    assert by_onednn(monkeypatch, lambda: times(x.double(), weight.double())) == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert by_onednn(monkeypatch, lambda: times(x, weight)) == 0
        assert times(x, weight).dtype == torch.bfloat16
    monkeypatch.setattr(product, "LEAST", 100)
    assert by_onednn(monkeypatch, lambda: times(x, weight)) == 0


def test_a_layer_that_is_listened_to_is_called():
    layer, heard = nn.Linear(5, 4), []
    assert is_plain(layer)
    layer.register_forward_hook(lambda *given: heard.append(given))
    assert not is_plain(layer)
    through(layer, torch.randn(2, 5))
    assert len(heard) == 1
    assert not is_plain(nn.Identity())
    assert not is_plain(None)


def test_what_is_faster_is_found_without_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    product._onednn_is_faster.__wrapped__()
    assert torch.equal(torch.rand(3), expected)
