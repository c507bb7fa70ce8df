"""Published models have the published number of parameters, without memory for one of them."""

from __future__ import annotations

import pytest
import torch

import sublayer
from sublayer.models.base import FAMILIES

T5 = {"vocab_size": 32128, "gated": False, "activation": "relu", "tied": True}


@pytest.mark.parametrize(
    ("family", "size", "keys", "millions"),
    [
        ("gpt", "small", {"vocab_size": 50257}, 124.4),
        ("bert", "base", {"vocab_size": 30522, "head": "none"}, 109.5),
        ("albert", "base", {"vocab_size": 30000, "head": "none"}, 11.7),
        ("t5", "small", T5 | {"d_ff": 2048, "n_layers": 6, "n_heads": 8}, 60.5),
        ("vit", "base", {}, 86.6),
        ("vit", "small", {}, 22.1),
        ("vit", "large", {}, 304.3),
        ("vit", "huge", {}, 632.0),
    ],
)
def test_published_models_have_their_number_of_parameters(family, size, keys, millions):
    with torch.device("meta"):
        network = sublayer.build(family, size, **keys)
    parameters = list(network.parameters())
    assert all(p.device.type == "meta" for p in parameters)
    assert round(sum(p.numel() for p in parameters) / 1e6, 1) == millions


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_and_size_is_built_without_memory(family):
    keys = {"vocab_size": 1000} if "vocab_size" in FAMILIES[family].model_fields else {}
    for size in FAMILIES[family].SIZES:
        with torch.device("meta"):
            network = sublayer.build(family, size, **keys)
        assert all(p.device.type == "meta" for p in network.parameters())
