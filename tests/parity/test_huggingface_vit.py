"""ViT as transformers has it: the same outputs from the same folder, there and back."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file

from sublayer.models.huggingface import read_network, write_network

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "image_size": 24,
    "patch_size": 4,
}
CASES = {
    "classes": (hf.ViTForImageClassification, VIT | {"num_labels": 7}),
    "one channel, no bias, relu": (
        hf.ViTForImageClassification,
        VIT | {"num_channels": 1, "qkv_bias": False, "hidden_act": "relu", "num_labels": 3},
    ),
    "five channels, odd patches, eps": (
        hf.ViTForImageClassification,
        VIT | {"num_channels": 5, "image_size": 21, "patch_size": 7, "layer_norm_eps": 1e-3},
    ),
    "bare, gelu_new": (hf.ViTModel, VIT | {"hidden_act": "gelu_new"}),
    "bare, deeper": (hf.ViTModel, VIT | {"num_hidden_layers": 3, "image_size": 8}),
}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """Their model, with weights that show a mistake, and its folder."""
    torch.manual_seed(0)
    model, keys = CASES[request.param]
    theirs = model(hf.ViTConfig(**keys)).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, tmp_path


def images(theirs, height, width):
    """Two of so many patches."""
    size = theirs.config.patch_size
    return torch.randn(2, theirs.config.num_channels, height * size, width * size)


@pytest.mark.parametrize("kind", ["as trained", "larger", "smaller", "wide", "as many, but flat"])
def test_outputs_are_equal_at_any_size(case, kind):
    theirs, folder = case
    _, config, ours = read_network(folder / "theirs")
    side = config.image_size // config.patch_size
    height, width = {
        "as trained": (side, side),
        "larger": (side + 3, side + 3),
        "smaller": (1, 1),
        "wide": (2, side + 5),
        "as many, but flat": (1, side**2),
    }[kind]
    x = images(theirs, height, width)
    with torch.no_grad():
        out = theirs(x, interpolate_pos_encoding=kind != "as trained", output_hidden_states=True)
        hidden = ours.hidden(x)
        if config.head == "classify":
            torch.testing.assert_close(ours(x), out.logits, **CLOSE)
            body = theirs.vit(x, interpolate_pos_encoding=kind != "as trained")
            torch.testing.assert_close(hidden, body.last_hidden_state, **CLOSE)
        else:
            torch.testing.assert_close(hidden, out.last_hidden_state, **CLOSE)
            torch.testing.assert_close(ours(x), out.pooler_output, **CLOSE)
            torch.testing.assert_close(ours.pooler(hidden), out.pooler_output, **CLOSE)


def test_hidden_states_and_loss_are_equal(case):
    theirs, folder = case
    _, config, ours = read_network(folder / "theirs")
    x = images(theirs, *[config.image_size // config.patch_size] * 2)
    seen = []
    for block in ours.stack.blocks:
        block.feedforward.stream.register_forward_hook(lambda m, given, out: seen.append(out))
    labels = torch.randint(0, config.n_labels if config.head == "classify" else 1, (2,))
    given = {"labels": labels} if config.head == "classify" else {}
    with torch.no_grad():
        out = theirs(x, output_hidden_states=True, **given)
        got = ours(x)
    torch.testing.assert_close(seen[:-1], list(out.hidden_states[1:-1]), **CLOSE)
    if given:
        torch.testing.assert_close(
            torch.nn.functional.cross_entropy(got, labels), out.loss, **CLOSE
        )


def test_there_and_back_is_exact(case):
    theirs, folder = case
    family, config, ours = read_network(folder / "theirs")
    write_network(ours, family, config, folder / "back")
    a, b = (load_file(folder / name / "model.safetensors") for name in ("theirs", "back"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    again = type(theirs).from_pretrained(folder / "back").eval()
    x = images(theirs, *[config.image_size // config.patch_size] * 2)
    with torch.no_grad():
        torch.testing.assert_close(again(x)[0], theirs(x)[0], atol=0, rtol=0)
    _, again_config, again_ours = read_network(folder / "back")
    assert again_config == config
    write_network(again_ours, family, again_config, folder / "third")
    for name in ("model.safetensors", "config.json"):
        assert (folder / "third" / name).read_bytes() == (folder / "back" / name).read_bytes()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_size": [8, 16]}, r"image_size \[8, 16\] is not supported: images and patches are"),
        ({"patch_size": [4, 8]}, r"patch_size \[4, 8\] is not supported"),
        ({"pooler_act": "relu"}, "pooler_act = 'relu' is not supported, only 'tanh'"),
        ({"pooler_output_size": 16}, "pooler_output_size 16 is not supported: only hidden_size"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, "'ViTForMaskedImageModeling' is not"),
    ],
)
def test_what_is_not_supported_is_named(keys, message, tmp_path):
    hf.ViTModel(hf.ViTConfig(**VIT)).save_pretrained(tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(theirs | keys))
    with pytest.raises(ValueError, match=message):
        read_network(tmp_path)
