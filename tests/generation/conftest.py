from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.models.base import build

V = 6  # pad, begin, end, unknown and two letters


@pytest.fixture(params=[0, 1, 2], ids=lambda seed: f"seed {seed}")
def network(request):
    """A tiny model that is sure enough of itself for its hypotheses to differ."""
    torch.manual_seed(request.param)
    network = build(
        "transformer", vocab_size=V, d_model=8, n_layers=1, n_heads=2, d_ff=16, tied="none"
    ).eval()
    nn.init.normal_(network.head.weight, std=0.5)
    return network


@pytest.fixture
def source():
    """Ids with their end, and which of them are no padding; rows of unlike length."""
    ids = torch.tensor([[4, 5, 3, 4, 2], [5, 2, 0, 0, 0], [3, 5, 2, 0, 0]])
    return ids, ids != 0


@pytest.fixture
def lean():
    """Make a network think `by` more of some tokens, always."""

    def lean(network, tokens, by):
        liking = torch.zeros(V)
        liking[tokens] = by
        network.head.register_forward_hook(lambda module, given, logits: logits + liking)

    return lean
