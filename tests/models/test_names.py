"""A table of names works both ways, to the bit, and knows what it does not know."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.models.names import Rule, to_ours, to_theirs
from sublayer.models.transformer import TORCH

TABLE = [
    Rule("layer.{i}.qkv.{p}", "blocks.{i}.q.{p}", "blocks.{i}.k.{p}", "blocks.{i}.v.{p}"),
    Rule("layer.{i}.out.{p}", "blocks.{i}.out.{p}"),
    Rule("wte", "embed"),
]


def test_numbers_and_parts_are_carried_over():
    theirs = {
        "layer.12.qkv.bias": torch.arange(6),
        "layer.0.out.weight": torch.ones(2, 2),
        "wte": torch.ones(3),
    }
    ours = to_ours(theirs, TABLE)
    assert list(ours) == [
        "blocks.12.q.bias",
        "blocks.12.k.bias",
        "blocks.12.v.bias",
        "blocks.0.out.weight",
        "embed",
    ]
    assert [ours[f"blocks.12.{x}.bias"].tolist() for x in "qkv"] == [[0, 1], [2, 3], [4, 5]]


def test_there_and_back_is_exact():
    theirs = nn.Transformer(8, 2, 2, 3, 16, batch_first=True).state_dict()
    back = to_theirs(to_ours(theirs, TORCH), TORCH)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.items())


def test_every_name_of_ours_comes_from_one_of_theirs():
    theirs = nn.Transformer(8, 2, 1, 1, 16, batch_first=True).state_dict()
    ours = to_ours(theirs, TORCH)
    assert sum(t.numel() for t in ours.values()) == sum(t.numel() for t in theirs.values())


@pytest.mark.parametrize("turn", [to_ours, to_theirs])
@pytest.mark.parametrize(
    "name", ["layer.x.out.weight", "layer.0.out.gain", "a.layer.0.out.weight", "wteX", ""]
)
def test_an_unknown_name_is_named(turn, name):
    with pytest.raises(
        ValueError, match=f"tensor '{name}' has no name here; the weights are of another family"
    ):
        turn({name: torch.ones(1)}, TABLE)


def test_a_dot_in_a_template_is_a_dot():
    with pytest.raises(ValueError, match="has no name here"):
        to_ours({"layer.0Xout.weight": torch.ones(1)}, TABLE)
