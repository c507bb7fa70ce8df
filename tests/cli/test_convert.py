"""`sublayer convert`: a table of differences, and a sentence for what cannot be converted."""

from __future__ import annotations

import builtins
import json
import sys

import pytest
import torch
import transformers as hf

KEYS = {"vocab_size": 31, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}


@pytest.fixture
def theirs(tmp_path):
    torch.manual_seed(0)
    hf.GPT2LMHeadModel(hf.GPT2Config(**KEYS)).save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def test_it_prints_every_layer(sublayer, theirs, tmp_path):
    status, out, _ = sublayer("convert", theirs, tmp_path / "ours", "--verify")
    assert status == 0
    for name in ("layer 0", "layer 1", "logits", "model in"):
        assert name in out
    status, out, _ = sublayer(
        "convert", tmp_path / "ours", tmp_path / "back", "--to", "huggingface", "--verify", "--json"
    )
    assert status == 0
    assert all(value < 1e-4 for value in json.loads(out)["differences"].values())
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "back" / file).read_bytes() == (theirs / file).read_bytes()


def test_a_difference_is_an_error(sublayer, theirs, tmp_path, monkeypatch):
    from sublayer.models import gpt

    monkeypatch.setitem(gpt.HF_ACTIVATIONS, "gelu_new", "relu")
    status, out, err = sublayer("convert", theirs, tmp_path / "ours", "--verify")
    assert (status, "layer 0" in out) == (2, True)
    assert "differs from transformers by" in err
    assert f"do not use {tmp_path / 'ours'}" in err


def test_transformers_may_be_missing(sublayer, theirs, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *given, **keys):
        if name == "transformers":
            raise ModuleNotFoundError(name)
        return real(name, *given, **keys)

    monkeypatch.setattr(builtins, "__import__", without)
    status, _, err = sublayer("convert", theirs, tmp_path / "ours", "--verify")
    assert status == 2
    assert "transformers, which is not installed: pip install transformers" in err
    assert sublayer("convert", theirs, tmp_path / "again")[0] == 0


def test_a_pickle_needs_the_option(sublayer, theirs, tmp_path):
    weights = hf.GPT2LMHeadModel.from_pretrained(theirs).state_dict()
    (theirs / "model.safetensors").unlink()
    torch.save(weights, theirs / "pytorch_model.bin")
    status, _, err = sublayer("convert", theirs, tmp_path / "new", "--to", "huggingface")
    assert status == 2
    assert f"`sublayer convert {theirs} NEW --pickle` reads it" in err
    command = ("convert", theirs, tmp_path / "new", "--to", "huggingface", "--pickle", "--verify")
    assert sublayer(*command)[0] == 0
    assert (tmp_path / "new" / "model.safetensors").exists()


def test_what_cannot_be_converted(sublayer, run, theirs, tmp_path):
    new = tmp_path / "new"
    for arguments, words in (
        ((run, new), "is in our own form already; add --to huggingface"),
        ((run, new, "--to", "huggingface"), "no architecture for the family 'transformer'; keep"),
        ((tmp_path / "none", new), "is no model: it has neither a recipe.toml nor"),
        ((theirs, theirs), "is there already; name a new folder"),
    ):
        status, _, err = sublayer("convert", *arguments)
        assert status == 2
        assert words in err
        assert not new.exists()
    keys = json.loads((theirs / "config.json").read_text())
    for changed, words in (
        ({"model_type": "mamba"}, "model_type 'mamba' is not known here"),
        ({"model_type": None}, "names no model_type, so this is no folder of Hugging Face's"),
        ({"n_layer": 3}, "tensor 'transformer.h.2."),
        ({"n_layer": 1}, "tensor 'transformer.h.1."),
    ):
        (theirs / "config.json").write_text(json.dumps(keys | changed))
        status, _, err = sublayer("convert", theirs, new)
        assert status == 2
        assert words in err


def test_for_ctranslate2(sublayer, run, theirs, tmp_path):
    pytest.importorskip("ctranslate2")
    command = ("convert", run, tmp_path / "deployed", "--to", "ctranslate2", "--verify", "--json")
    status, out, _ = sublayer(*command)
    assert status == 0
    differences = json.loads(out)["differences"]
    assert differences.keys() == {"log-probabilities", "greedy tokens"}
    assert max(differences.values()) < 1e-4
    status, _, err = sublayer("convert", theirs, tmp_path / "new", "--to", "ctranslate2")
    assert status == 2
    assert "has no tokenizer" in err
    assert not (tmp_path / "new").exists()


def test_a_difference_from_ctranslate2_is_an_error(sublayer, run, tmp_path, monkeypatch):
    pytest.importorskip("ctranslate2")
    from sublayer.models import ctranslate2

    monkeypatch.setitem(
        ctranslate2.THEIR_ACTIVATIONS, "relu", ctranslate2.THEIR_ACTIVATIONS["gelu"]
    )
    deployed = tmp_path / "deployed"
    status, out, err = sublayer("convert", run, deployed, "--to", "ctranslate2", "--verify")
    assert (status, "greedy tokens" in out) == (2, True)
    assert "log-probabilities differs from CTranslate2 by" in err
    assert f"more than 0.001; do not use {deployed}" in err


def test_ctranslate2_may_be_missing(sublayer, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    monkeypatch.delitem(sys.modules, "sublayer.models.ctranslate2", raising=False)
    status, _, err = sublayer("convert", run, tmp_path / "new", "--to", "ctranslate2")
    assert status == 2
    assert "needs the package ctranslate2: pip install 'sublayer[export]'" in err
    assert not (tmp_path / "new").exists()
