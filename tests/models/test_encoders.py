"""Encoder-only families: published sizes, what cannot be built."""

from __future__ import annotations

import re

import pytest
import torch

import sublayer
from sublayer.models.base import configure


@pytest.mark.parametrize(
    ("family", "size", "keys", "number"),
    [  # of transformers' models, made from the published configurations
        ("bert", "base", {"vocab_size": 30522}, 110_106_428),
        ("bert", "large", {"vocab_size": 30522, "head": "none"}, 335_141_888),
        (
            "bert",
            "base",
            {
                "vocab_size": 50265,
                "n_segments": 1,
                "skipped_positions": 2,
                "head": "masked",
                "pooler": False,
            },
            124_697_433,
        ),
        (
            "bert",
            "base",
            {"vocab_size": 30522, "n_layers": 6, "n_segments": 0, "head": "none", "pooler": False},
            66_362_880,
        ),
        ("albert", "base", {"vocab_size": 30000, "head": "none"}, 11_683_584),
        ("albert", "xxlarge", {"vocab_size": 30000, "head": "none"}, 222_595_584),
    ],
)
def test_published_models_have_their_number_of_parameters(family, size, keys, number):
    with torch.device("meta"):
        network = sublayer.build(family, size, **keys)
    assert sum(p.numel() for p in network.parameters()) == number


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_every_token_sees_both_sides_and_no_padding(family):
    network = sublayer.build(family, "tiny", vocab_size=20, head="none", dropout=0.0).eval()
    ids = torch.randint(0, 20, (1, 6))
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 20
    valid = torch.tensor([[True, True, True, True, True, False]])
    assert not torch.allclose(network(ids)[0, 0], network(changed)[0, 0])
    torch.testing.assert_close(network(ids, valid)[0, :5], network(changed, valid)[0, :5])


@pytest.mark.parametrize(
    ("family", "keys", "message"),
    [
        ("bert", {"n_heads": 3}, "d_model 128 is not divisible by n_heads 3; change one"),
        ("bert", {"pooler": False}, "head = 'masked_and_pairs' needs pooler = true"),
        ("albert", {"n_heads": 3}, "d_model 128 is not divisible by n_heads 3; change one"),
        ("albert", {"pooler": False}, "head = 'masked_and_pairs' needs pooler = true"),
    ],
)
def test_what_cannot_be_built_says_why(family, keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        configure(family, "tiny", vocab_size=10, **keys)
