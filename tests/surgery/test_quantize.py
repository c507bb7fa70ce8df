"""Quantized weights: how far off they are, saved and read again, packed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.generation.generate import continue_ids
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.layers.packed import is_available
from sublayer.layers.quantized import (
    GROUP,
    Bfloat16Linear,
    Int4Weights,
    Int8Embedding,
    Int8Linear,
    Int8Weights,
)
from sublayer.models.base import build
from sublayer.models.hub import network_tensors, write_config, write_tensors
from sublayer.models.transformer import TransformerConfig
from sublayer.surgery.pack import pack_layers, packed
from sublayer.surgery.quantize import KINDS, load_quantized, quantize, restored, write_quantization

# half of a step over the largest weight of what shares a scale, and what bfloat16 adds
STEP = {"int8": 0.5 / 127, "int8-weights": 0.5 / 127, "int4": 1 / 15 + 0.02, "bfloat16": 2**-8}
KEYS = {"vocab_size": 96, "d_model": 128, "n_layers": 2, "n_heads": 4, "d_ff": 192}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_no_weight_is_off_by_more_than_a_part_of_a_step(kind, bias):
    torch.manual_seed(0)
    linear = nn.Linear(2 * GROUP, 32, bias)
    layer = KINDS[kind].of(linear)
    off = (layer.dequantized() - linear.weight).abs()
    assert (off <= linear.weight.abs().amax(1, keepdim=True) * STEP[kind] * 1.01).all()
    x = torch.randn(3, 5, 2 * GROUP)
    expected = nn.functional.linear(x, layer.dequantized(), linear.bias)
    torch.testing.assert_close(layer(x), expected)


def test_weights_that_are_whole_steps_are_kept_exactly():
    linear = nn.Linear(GROUP, 16, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randint(-127, 128, (16, GROUP)).float())
        linear.weight[:, 0] = 127
    assert torch.equal(Int8Linear.of(linear).dequantized(), linear.weight)
    with torch.no_grad():
        linear.weight.copy_(torch.randint(0, 16, (16, GROUP)).float())
        linear.weight[:, 0], linear.weight[:, 1] = 0, 15
    assert torch.equal(Int4Weights.of(linear).dequantized(), linear.weight)


def test_rows_of_a_table_have_scales_of_their_own():
    table = nn.Embedding(10, 64)
    ids = torch.tensor([[3, 9], [0, 3]])
    off = (Int8Embedding.of(table)(ids) - table(ids)).abs()
    assert (off <= table(ids).abs().amax(-1, keepdim=True) * 0.51 / 127).all()


@pytest.mark.skipif(not is_available(), reason="no kernels for this CPU")
@pytest.mark.parametrize("kind", [Int8Linear, Int8Weights, Int4Weights, Bfloat16Linear])
@pytest.mark.parametrize("act", ["none", "relu"])
@pytest.mark.parametrize("rows", [1, 40])
def test_packed_products_are_near_the_plain_ones(kind, act, rows):
    torch.manual_seed(0)
    layers = [kind.of(nn.Linear(2 * GROUP, n)) for n in (32, 64)]
    x = torch.randn(1, rows, 2 * GROUP)
    expected = torch.cat([layer(x) for layer in layers], -1)
    expected = expected.relu() if act == "relu" else expected
    off = (pack_layers(layers, torch.float32, act)(x) - expected).abs().max()
    assert off < 0.03 * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantized_network_is_saved_and_read_again(kind, tmp_path):
    torch.manual_seed(0)
    config = TransformerConfig(**KEYS)
    network = quantize(config.build().eval(), kind)
    write_config(config, "transformer", tmp_path)
    write_tensors(network_tensors(network), tmp_path / "model.safetensors")
    write_quantization(kind, tmp_path)
    again = load_quantized(tmp_path)
    ids = torch.randint(3, 96, (2, 7))
    with torch.inference_mode():
        assert torch.equal(again(ids, ids), network(ids, ids))


def test_reading_a_quantized_network_draws_nothing(tmp_path):
    config = TransformerConfig(**KEYS)
    write_config(config, "transformer", tmp_path)
    write_tensors(network_tensors(quantize(config.build(), "int8")), tmp_path / "model.safetensors")
    write_quantization("int8", tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_quantized(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_stay_near(kind):
    torch.manual_seed(0)
    network = build("transformer", **KEYS).eval()
    ids = torch.randint(3, 96, (2, 7))
    with torch.inference_mode():
        expected = network(ids, ids)
        quantize(network, kind)
        plain = network(ids, ids)
        fast = packed(network)(ids, ids) if is_available() else plain
        back = restored(network)(ids, ids)
    spread = expected.std()
    assert (plain - expected).abs().mean() < (0.25 if kind == "int4" else 0.05) * spread
    assert (fast - plain).abs().mean() < 0.05 * spread
    torch.testing.assert_close(back, plain, atol=1e-4, rtol=1e-4)
    assert all(
        type(part) is nn.Linear for part in network.modules() if hasattr(part, "in_features")
    )


def test_what_quantization_json_says_is_checked(tmp_path):
    config = TransformerConfig(**KEYS)
    write_config(config, "transformer", tmp_path)
    (tmp_path / "quantization.json").write_text('{"weights": "int3"}')
    with pytest.raises(ValueError, match="'weights' must be one of int8, int8-weights, int4"):
        load_quantized(tmp_path)


@pytest.mark.parametrize("family", ["wavenet", "gpt", "llama"])
def test_a_language_model_without_parameters_of_floats_still_writes(family):
    torch.manual_seed(0)
    sizes = {} if family == "wavenet" else {"n_layers": 1, "n_heads": 2, "d_ff": 64}
    network = quantize(build(family, vocab_size=32, d_model=32, **sizes).eval(), "int8")
    found = continue_ids(
        network, [[1, 5], [1]], SearchOptions(2, max_length=4), Stops((2,), (0, 1))
    )
    assert len(found) == 2
