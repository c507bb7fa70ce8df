"""Gradients made once for all steps are those of the loop that makes them step by step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.layers.unrolled import Held, is_recorded

N, B, D_IN, D_OUT = 4, 3, 5, 6
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def given():
    """A layer, inputs, what is added, and an encoded row's own matrix."""
    torch.manual_seed(2)
    layer = nn.Linear(D_IN, D_OUT)
    tensors = torch.randn(B, 1, D_IN), torch.randn(N, B, 1, D_OUT), torch.randn(B, D_OUT, D_IN)
    back = nn.Linear(D_OUT, D_IN)  # from a step's output to the next one's input
    return layer, back, *(t.requires_grad_() for t in tensors)


def looped(step, x, back):
    """Each step reads what the one before gave."""
    outputs = []
    for _ in range(N):
        out = step(x)
        outputs.append(out)
        x = torch.tanh(back(out))
    return torch.stack(outputs)


def gradients(loss, *leaves):
    return torch.autograd.grad(loss.square().sum(), leaves, retain_graph=True)


def same(ours, theirs, **close):
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, **(close or CLOSE))


def test_a_layer_of_many_steps():
    layer, back, x, onto, _ = given()
    leaves = (layer.weight, layer.bias, x, onto, back.weight)
    ours = looped(Held(layer.weight, layer.bias, onto=onto), x, back)
    added = iter(onto)
    theirs = looped(lambda x: layer(x) + next(added), x, back)
    same([ours], [theirs])
    same(gradients(ours, *leaves), gradients(theirs, *leaves))


def test_a_matrix_for_each_row():
    _, back, x, _, matrix = given()
    leaves = (matrix, x, back.weight)
    ours = looped(Held(matrix, shape=(N, B, 1)), x, back)
    theirs = looped(lambda x: torch.einsum("boi,bwi->bwo", matrix, x), x, back)
    same([ours], [theirs])
    same(gradients(ours, *leaves), gradients(theirs, *leaves))


def test_parts_of_the_graph_are_asked_for_one_after_another():
    layer, back, x, _, _ = given()
    leaves = (layer.weight, layer.bias, x)
    ours = looped(Held(layer.weight, layer.bias, shape=(N, B, 1)), x, back)
    theirs = looped(layer, x, back)
    for leaf in leaves:  # each by a way back of its own
        same(gradients(ours, leaf), gradients(theirs, leaf))
    same(gradients(ours[1], *leaves), gradients(theirs[1], *leaves))  # some steps are not used
    same(gradients(ours, *leaves), gradients(theirs, *leaves))


@pytest.mark.parametrize("frozen", ["weight", "bias", "both"])
def test_what_is_frozen_gets_none(frozen):
    layer, back, x, _, _ = given()
    for name, p in layer.named_parameters():
        p.requires_grad_(frozen not in {name, "both"})
    ours = looped(Held(layer.weight, layer.bias, shape=(N, B, 1)), x, back)
    leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
    same(gradients(ours, *leaves), gradients(looped(layer, x, back), *leaves))
    ours.sum().backward()
    assert [p.grad is None for p in layer.parameters()] == [
        not p.requires_grad for p in layer.parameters()
    ]


def test_gradients_of_several_loops_and_batches_add_up():
    layer, back, x, _, _ = given()
    for _ in range(2):
        for _ in range(2):  # the same layer in two loops of one graph
            x = looped(Held(layer.weight, layer.bias, shape=(N, B, 1)), x, back)[-1]
            x = torch.tanh(back(x))
        x.sum().backward()
        x = x.detach()
    ours = layer.weight.grad.clone()
    layer, back, x, _, _ = given()
    for _ in range(2):
        for _ in range(2):
            x = torch.tanh(back(looped(layer, x, back)[-1]))
        x.sum().backward()
        x = x.detach()
    same([ours], [layer.weight.grad])


@pytest.mark.parametrize("by_row", [False, True])
def test_bfloat16_differs_by_its_roundings(by_row):
    layer, back, x, _, matrix = given()
    held = matrix if by_row else layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        ours = looped(Held(held, shape=(N, B, 1)), x, back)
    assert ours.dtype == torch.bfloat16
    step = (lambda x: x @ held.mT) if by_row else lambda x: x @ held.T
    same(
        gradients(ours.float(), held, x),
        gradients(looped(step, x, back), held, x),
        rtol=0.05,
        atol=0.05 * 2 * N,
    )


def test_nothing_is_recorded_without_gradients():
    assert is_recorded()
    with torch.no_grad():
        assert not is_recorded()
