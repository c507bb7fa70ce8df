"""Tiny networks, and the same ones as transformers reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from sublayer.models.base import configure
from sublayer.models.huggingface import write_network

V = 23
WIDE = {"d_model": 16, "n_heads": 2, "d_ff": 24}

Both = Callable[..., tuple[nn.Module, Any]]


@pytest.fixture
def both(tmp_path) -> Both:
    """A network of a family, with weights that show a mistake, and theirs of the same weights."""

    def make(family: str, theirs: str, **keys: Any) -> tuple[nn.Module, Any]:
        depth = "rounds" if family == "albert" else "n_layers"
        config = configure(family, vocab_size=V, **WIDE, **{depth: 2}, **keys)
        network = config.build().eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.3)
        write_network(network, family, config, tmp_path)
        return network, getattr(hf, theirs).from_pretrained(tmp_path).eval()

    return make


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(4, V, (4, 9))


@pytest.fixture
def valid() -> torch.Tensor:
    """Rows of 9, 6, 4 and 9 real tokens."""
    return torch.arange(9) < torch.tensor([[9], [6], [4], [9]])
