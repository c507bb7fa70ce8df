"""Decoder-only families: published sizes, shared tables, what cannot be built."""

from __future__ import annotations

import re

import pytest
import torch

import sublayer
from sublayer.models.base import configure


@pytest.mark.parametrize(
    ("family", "size", "keys", "number"),
    [  # from the published checkpoints
        ("gpt", "small", {"vocab_size": 50257}, 124_439_808),
        ("gpt", "xl", {"vocab_size": 50257}, 1_557_611_200),
        ("llama", "135m", {"vocab_size": 49152, "tied": True}, 134_515_008),
        ("llama", "1.1b", {"vocab_size": 32000}, 1_100_048_384),
        ("llama", "7b", {"vocab_size": 32000}, 6_738_415_616),
        ("llama", "8b", {"vocab_size": 128256}, 8_030_261_248),
    ],
)
def test_published_models_have_their_number_of_parameters(family, size, keys, number):
    with torch.device("meta"):
        network = sublayer.build(family, size, **keys)
    assert sum(p.numel() for p in network.parameters()) == number


@pytest.mark.parametrize("family", ["gpt", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_the_table_or_not(family, tied):
    network = sublayer.build(family, "tiny", vocab_size=10, tied=tied)
    assert (network.head.weight is network.embed.table.weight) == tied


def test_a_learned_position_has_an_end_and_a_rotary_one_has_none():
    ids = torch.zeros(1, 300, dtype=torch.long)
    with pytest.raises(ValueError, match="300 positions, but the model learned 256"):
        sublayer.build("gpt", "tiny", vocab_size=10)(ids)
    network = sublayer.build("llama", "tiny", vocab_size=10, max_length=256)
    assert network(ids).shape == (1, 300, 10)


@pytest.mark.parametrize(
    ("family", "keys", "message"),
    [
        ("gpt", {"n_heads": 7}, "d_model 128 is not divisible by n_heads 7; change one"),
        ("llama", {"n_heads": 7, "n_kv_heads": 7}, "d_model 128 is not divisible by n_heads 7"),
        ("llama", {"n_kv_heads": 3}, "n_heads 4 is not divisible by n_kv_heads 3"),
        ("llama", {"d_head": 9}, "rotary positions need heads of even width, got 9"),
        ("llama", {"windw": 3}, "did you mean 'window'?"),
    ],
)
def test_what_cannot_be_built_says_why(family, keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        configure(family, "tiny", vocab_size=10, **keys)
