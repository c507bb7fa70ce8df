"""RMSNorm against its formula, against PyTorch's and against Hugging Face's two."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from sublayer.layers.norm import RMSNorm, _FewPasses

M, EPS = 24, 1e-5
THEIRS = {"torch": nn.RMSNorm, "llama": LlamaRMSNorm, "t5": T5LayerNorm}


def with_weights(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.5, 1.5, len(norm.weight)))
    return norm


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("shape", [(M,), (5, M), (2, 3, M), (2, 0, M)], ids=str)
def test_equals_the_others_gradients_too(name, shape):
    found = []
    x, gradient = 3 * torch.randn(shape), torch.randn(shape)
    for kind in (RMSNorm, THEIRS[name]):
        norm, given = with_weights(kind(M, eps=EPS)), x.clone().requires_grad_()
        out = norm(given)
        out.backward(gradient)
        found.append((out, given.grad, norm.weight.grad))
    for own, their in zip(*found, strict=True):
        torch.testing.assert_close(own, their, atol=2e-6, rtol=2e-6)


def test_is_its_formula():
    norm, x = with_weights(RMSNorm(M, EPS)), torch.randn(4, M)
    for row, out in zip(x, norm(x), strict=True):
        mean = sum(float(number) ** 2 for number in row) / M
        torch.testing.assert_close(out, row / (mean + EPS) ** 0.5 * norm.weight)


def test_written_out_equals_what_is_used_without_gradients():
    norm, x = with_weights(RMSNorm(M)), torch.randn(2, 3, M)
    with torch.no_grad():
        plain = norm(x)
    torch.testing.assert_close(norm(x), plain)


def test_gradients_are_those_of_finite_differences():
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, weight: _FewPasses.apply(x, weight, EPS), (x, weight))


def test_a_gradient_that_lies_otherwise_in_memory_is_taken():
    norm, x = with_weights(RMSNorm(M)), torch.randn(3, 4, M, requires_grad=True)
    gradient = torch.randn(4, 3, M)
    norm(x).transpose(0, 1).backward(gradient)
    other = x.detach().clone().requires_grad_()
    norm(other).backward(gradient.transpose(0, 1).contiguous())
    torch.testing.assert_close(x.grad, other.grad)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_stays_and_is_rounded_once(training):
    """No warning either: the stream is in bfloat16 under autocast, the weight in float32."""
    norm, x = with_weights(RMSNorm(M)), torch.randn(6, M).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
        out = norm(x)
    assert out.dtype == torch.bfloat16
    exact = norm(x.float())
    # the weight is narrowed too where no gradient is needed
    torch.testing.assert_close(out.float(), exact, rtol=2**-8 * (1 if training else 3), atol=1e-3)


def test_gradients_under_autocast_keep_the_type_of_what_they_are_of():
    norm, x = with_weights(RMSNorm(M)), torch.randn(6, M).bfloat16().requires_grad_()
    gradient = torch.randn(6, M).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        norm(x).backward(gradient)
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert norm.weight.grad.dtype == torch.float32
    exact, given = with_weights(RMSNorm(M)), x.detach().float().requires_grad_()
    exact(given).backward(gradient.float())
    torch.testing.assert_close(norm.weight.grad, exact.weight.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x.grad.float(), given.grad, rtol=2**-8, atol=1e-3)


def test_a_weight_in_bfloat16_is_no_narrower_within():
    norm, x = with_weights(RMSNorm(M)).bfloat16(), torch.randn(6, M).bfloat16()
    wide = RMSNorm(M)
    wide.load_state_dict({"weight": norm.weight.detach().float()})
    torch.testing.assert_close(norm(x).float(), wide(x.float()), rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_only_what_needs_a_gradient_has_one(frozen):
    norm, x = with_weights(RMSNorm(M)), torch.randn(2, M)
    x.requires_grad_(frozen != "x")
    norm.weight.requires_grad_(frozen != "weight")
    norm(x).sum().backward()
    assert (x.grad is None) == (frozen == "x")
    assert (norm.weight.grad is None) == (frozen == "weight")


def test_there_is_an_output_without_memory():
    with torch.device("meta"):
        assert RMSNorm(M)(torch.empty(2, 3, M)).shape == (2, 3, M)
    with FakeTensorMode():
        norm, x = RMSNorm(M), torch.empty(2, 3, M, requires_grad=True)
        norm(x).sum().backward()
        assert x.grad.shape == (2, 3, M)
