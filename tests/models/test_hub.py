"""A model's folder gives the model back, and says what is wrong with it."""

from __future__ import annotations

import json
import re

import pytest
import torch

from sublayer.models.base import build, configure
from sublayer.models.hub import (
    load_network,
    network_tensors,
    put_tensors,
    read_config,
    read_tensors,
    write_config,
    write_tensors,
)

KEYS = {
    "vocab_size": 10,
    "d_model": 8,
    "n_layers": 1,
    "n_heads": 2,
    "d_ff": 16,
    "norm": "pre",
    "dropout": 0.25,
}
WEIGHTS = "model.safetensors"


@pytest.fixture
def network():
    return build("transformer", **KEYS)


@pytest.fixture
def folder(tmp_path, network):
    write_config(configure("transformer", **KEYS), "transformer", tmp_path)
    write_tensors(network_tensors(network), tmp_path / WEIGHTS)
    return tmp_path


def test_there_and_back(folder, network):
    loaded = load_network(folder)
    assert not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert loaded.head.weight is loaded.source_embed.table.weight
    assert read_config(folder) == ("transformer", configure("transformer", **KEYS))


def test_shared_tensors_are_written_once(folder):
    tensors = read_tensors(folder / WEIGHTS)
    assert "source_embed.table.weight" in tensors
    assert not tensors.keys() & {
        "target_embed.table.weight",
        "head.weight",
        "encoder.position.table",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("decoder.norm.bias"), "tensor 'decoder.norm.bias' is missing"),
        (lambda t: t.update(extra=torch.ones(1)), "tensor 'extra' is not part of the model"),
        (
            lambda t: t.update({"decoder.norm.bias": torch.ones(9)}),
            "tensor 'decoder.norm.bias' has shape [9], the model's is [8]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(network, change, message):
    tensors = {name: tensor.clone() for name, tensor in network_tensors(network).items()}
    change(tensors)
    with pytest.raises(ValueError, match=re.escape(f"here: {message}")):
        put_tensors(network, tensors, "here")


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is not there; is .* a finished run?"):
        load_network(folder)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_half_written_file_is_named(folder, kept):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=f"{WEIGHTS} is damaged .*; restore it or train again"):
        load_network(folder)


@pytest.mark.parametrize("family", [None, "transfomer", 3, ["transformer"]])
def test_a_configuration_of_no_family_is_refused(folder, family):
    keys = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(keys | {"family": family}))
    with pytest.raises(
        ValueError, match=r"config\.json: 'family' must be one of .*transformer, .*got"
    ):
        load_network(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"family": "transformer"', "\\x00"])
def test_a_damaged_configuration_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        load_network(folder)


def test_weights_of_another_configuration_are_refused(folder):
    write_config(configure("transformer", **KEYS | {"d_ff": 17}), "transformer", folder)
    with pytest.raises(
        ValueError, match=r"model\.safetensors: tensor '.*' has shape \[.*\], the model's is"
    ):
        load_network(folder)
