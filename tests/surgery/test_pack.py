"""Packed networks are the networks that they were made of, for every family and way to decode."""

from __future__ import annotations

import pytest
import torch

from sublayer.generation.decoding import FromPrompt, FromSource
from sublayer.generation.generate import search
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.layers.packed import is_available
from sublayer.models.base import EncoderDecoder, build
from sublayer.surgery.pack import is_worth_packing, packed, ready

pytestmark = pytest.mark.skipif(not is_available(), reason="no kernels for this CPU")

SMALL = {"vocab_size": 40, "d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 96}
T5 = {**SMALL, "d_head": 16}
NETWORKS = {
    "transformer": ("transformer", SMALL),
    "pre": ("transformer", {**SMALL, "norm": "pre", "activation": "gelu"}),
    "sandwich": ("transformer", {**SMALL, "norm": "sandwich"}),
    "grouped": ("transformer", {**SMALL, "n_kv_heads": 2, "activation": "silu", "gated": True}),
    "rotary": ("transformer", {**SMALL, "position": "rotary", "norm_kind": "rms"}),
    "shaw": ("transformer", {**SMALL, "position": "shaw"}),
    "alibi": ("transformer", {**SMALL, "position": "alibi"}),
    "general": ("transformer", {**SMALL, "score": "general"}),
    "additive": ("transformer", {**SMALL, "score": "additive"}),
    "location": ("transformer", {**SMALL, "score": "location"}),
    "t5": ("t5", T5),
    "t5 without gates": ("t5", {**T5, "gated": False, "activation": "relu"}),
    "marian": ("marian", {**SMALL, "max_length": 40}),
    "gpt": ("gpt", {**SMALL, "max_length": 40}),
    "window": ("gpt", {**SMALL, "max_length": 40, "window": 3}),
    "llama": ("llama", {**SMALL, "n_kv_heads": 2}),
    "llama in a window": ("llama", {**SMALL, "n_kv_heads": 1, "window": 4}),
    "wavenet": ("wavenet", {"vocab_size": 40, "d_model": 64, "n_layers": 3, "n_stacks": 2}),
}
SOURCE = torch.tensor([[5, 9, 7, 2, 0, 0], [8, 4, 30, 22, 11, 2], [6, 2, 0, 0, 0, 0]])
PROMPTS = [[5, 9, 7, 3], [8], [4, 30, 22, 11, 6, 17, 9]]


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(1)
    family, keys = NETWORKS[request.param]
    if family == "marian":
        keys = {key: value for key, value in keys.items() if key != "d_ff"} | {"d_ff": 96}
    return build(family, **keys).eval()


def found(network, beam, rows=slice(None), length=14):
    """What a search gives for these rows."""
    options = SearchOptions(beam=beam, n_best=beam, max_length=length, length_penalty=1.0)
    with torch.inference_mode():
        if isinstance(network, EncoderDecoder):
            source = SOURCE[rows]
            valid = source != 0
            decoding = FromSource(network, network.encode(source, valid), valid, 1)
        else:
            decoding = FromPrompt(network, PROMPTS[rows])
        limits = [length] * len(PROMPTS[rows])
        return search(decoding, limits, options, Stops((2,), (0, 1)))


def check(ours, expected, tolerance=1e-4):
    for row, other in zip(ours, expected, strict=True):
        assert [h.ids for h in row] == [h.ids for h in other]
        for h, o in zip(row, other, strict=True):
            assert h.logprob == pytest.approx(o.logprob, abs=tolerance)


@pytest.mark.parametrize("beam", [1, 4])
def test_in_float32_it_writes_the_same(network, beam):
    check(found(packed(network, torch.float32), beam), found(network, beam))


@pytest.mark.parametrize("beam", [1, 4])
def test_rows_alone_and_together_write_the_same(network, beam):
    fast = packed(network, torch.float32)
    together = found(fast, beam)
    check([found(fast, beam, slice(i, i + 1))[0] for i in range(len(PROMPTS))], together)


def test_in_bfloat16_it_is_near(network):
    fast = packed(network, torch.bfloat16)
    ids = SOURCE[:, :4]
    with torch.inference_mode():
        inputs = (ids, ids) if isinstance(network, EncoderDecoder) else (ids,)
        expected = network(*inputs).log_softmax(-1)
        off = (fast(*inputs).log_softmax(-1) - expected).abs().max()
    assert 0 < off < 0.1


def test_the_network_itself_stays_as_it_was(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    packed(network)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


ENCODERS = {
    "bert": ("bert", {"head": "masked"}),
    "labels": ("bert", {"head": "classify", "n_labels": 3}),
    "albert": ("albert", {"d_embedding": 16}),
    "gpt labels": ("gpt", {"head": "classify", "n_labels": 3, "max_length": 40}),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_and_labels_are_the_same_in_float32(name):
    torch.manual_seed(0)
    family, keys = ENCODERS[name]
    sizes = {key: n for key, n in SMALL.items() if family != "albert" or key != "n_layers"}
    network = build(family, **sizes, **keys).eval()
    with torch.inference_mode():
        expected = network(SOURCE, SOURCE != 0)
        found = packed(network, torch.float32)(SOURCE, SOURCE != 0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_images_are_the_same_in_float32():
    torch.manual_seed(0)
    keys = {"image_size": 8, "patch_size": 4, "n_channels": 1, "n_labels": 5}
    network = build("vit", d_model=64, n_layers=2, n_heads=4, d_ff=96, **keys).eval()
    images = torch.randn(3, 1, 8, 8)
    with torch.inference_mode():
        expected, found = network(images), packed(network, torch.float32)(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_small_networks_are_not_packed():
    network = build("transformer", **SMALL)
    assert not is_worth_packing(network)
    assert ready(network) is network
    assert is_worth_packing(build("transformer", "small", vocab_size=1000))
