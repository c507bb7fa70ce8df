"""One product for several layers gives what they give, and steps aside where one is changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.layers import joint as module
from sublayer.layers.joint import joint

X = torch.linspace(-1, 1, 24).view(2, 3, 4)


def three(biases=(True, True, True)):
    return [nn.Linear(4, out, bias) for out, bias in zip((5, 2, 2), biases, strict=True)]


def outcome(outputs, layers):
    loss = sum(out.square().sum() for out in outputs)
    return *outputs, *torch.autograd.grad(loss, [p for layer in layers for p in layer.parameters()])


@pytest.mark.parametrize(
    "biases", [(True,) * 3, (False,) * 3, (True, False, True), (False, True, True)]
)
def test_equals_the_layers_one_by_one(biases):
    layers = three(biases)
    apart = outcome([layer(X) for layer in layers], layers)
    for got, wanted in zip(outcome(joint(X, *layers), layers), apart, strict=True):
        torch.testing.assert_close(got, wanted)


def test_plain_layers_in_training_are_one_product(monkeypatch):
    layers, products = three(), []
    linear = module.F.linear
    monkeypatch.setattr(module.F, "linear", lambda *given: products.append(given) or linear(*given))
    joint(X, *layers)
    assert len(products) == 1


@pytest.mark.parametrize(
    "how", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_listeners_are_heard(how):
    layers, heard = three(), []
    getattr(layers[1], how)(lambda *given: heard.append(given) or None)
    sum(out.sum() for out in joint(X.clone().requires_grad_(), *layers)).backward()
    assert len(heard) == 1


def test_a_replaced_layer_is_called():
    class Loud(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 100

    layers = [*three()[:2], Loud(4, 2)]
    assert joint(X, *layers)[2].min() > 50
