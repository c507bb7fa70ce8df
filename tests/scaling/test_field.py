"""The receptive field against what gradients reach."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.models.base import build
from sublayer.scaling import receptive_field

KEYS = {"vocab_size": 11, "d_model": 8, "n_layers": 3}
MODELS = {
    "wavenet": ({"n_stacks": 2}, 16),
    "llama": ({"n_heads": 2, "d_ff": 8, "window": 4}, 1 + 3 * 3),
    "gpt": ({"n_heads": 2, "window": 2, "max_length": 40}, 1 + 3),
}


@pytest.mark.parametrize("family", MODELS)
def test_it_is_what_gradients_reach(family):
    torch.manual_seed(0)
    keys, expected = MODELS[family]
    network = build(family, **KEYS, **keys).double().eval()
    for weight in network.parameters():
        if weight.ndim == 2:  # large, so that no path is lost in rounding
            nn.init.normal_(weight, std=0.5)
    assert receptive_field(network) == expected
    x = network.embed(torch.randint(11, (1, 40))).detach().requires_grad_()
    (slope,) = torch.autograd.grad(network.stack(x, network.mask)[0, -1].norm(), x)
    assert int((slope[0].abs().sum(-1) > 0).sum()) == expected


def test_attention_to_all_has_none():
    assert receptive_field(build("gpt", **KEYS, n_heads=2, max_length=40)) is None
