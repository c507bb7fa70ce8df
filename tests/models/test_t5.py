"""T5: published sizes, and what tells its versions apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sublayer

V1_0 = {"gated": False, "activation": "relu", "tied": True, "scaled_output": True}


@pytest.mark.parametrize(
    ("size", "keys", "number"),
    [  # of transformers' models, made from the published configurations
        ("small", {}, 76_961_152),
        ("base", {}, 247_577_856),
        ("small", V1_0 | {"n_layers": 6, "n_heads": 8, "d_ff": 2048}, 60_506_624),
    ],
)
def test_published_models_have_their_number_of_parameters(size, keys, number):
    with torch.device("meta"):
        network = sublayer.build("t5", size, vocab_size=32128, **keys)
    assert sum(p.numel() for p in network.parameters()) == number


def test_a_new_model_has_logits_of_order_one():
    torch.manual_seed(0)
    ids = torch.randint(0, 50, (4, 12))
    tied = sublayer.build("t5", "tiny", vocab_size=50, tied=True, scaled_output=True).eval()
    for network in (sublayer.build("t5", "tiny", vocab_size=50).eval(), tied):
        assert 0.3 < network(ids, ids).std().item() < 3


def test_positions_are_shared_by_all_layers_of_a_side():
    network = sublayer.build("t5", "tiny", vocab_size=50)
    tables = [name for name, m in network.named_modules() if isinstance(m, nn.Embedding)]
    assert tables == ["source_embed.table", "encoder.position.table", "decoder.position.table"]
