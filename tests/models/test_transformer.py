"""The paper's model: its names, its sharing, its size, and what cannot be built."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from sublayer.layers.dropout import Dropout
from sublayer.layers.tap import Tap
from sublayer.models.base import build, configure

TINY = {"vocab_size": 10, "d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 16}

SIZES = [
    "vocab_size",
    "source_vocab_size",
    "d_model",
    "n_layers",
    "n_decoder_layers",
    "n_heads",
    "n_kv_heads",
]
SIZES += ["d_head", "d_ff", "max_length"]

ATTENTION = [f"layer.{part}.{p}" for part in ("q", "k", "v", "out") for p in ("weight", "bias")]
FEEDFORWARD = ["layer.up.weight", "layer.up.bias", "layer.down.weight", "layer.down.bias"]
NORM = ["norm.weight", "norm.bias"]


def test_names_of_parameters():
    encoder, decoder = "encoder.blocks.0", "decoder.blocks.0"
    assert [name for name, _ in build("transformer", **TINY, tied="none").named_parameters()] == [
        "source_embed.table.weight",
        "target_embed.table.weight",
        *(f"{encoder}.attention.{name}" for name in ATTENTION + NORM),
        *(f"{encoder}.feedforward.{name}" for name in FEEDFORWARD + NORM),
        *(f"{decoder}.attention.{name}" for name in ATTENTION + NORM),
        *(f"{decoder}.cross.{name}" for name in ATTENTION + NORM),
        *(f"{decoder}.feedforward.{name}" for name in FEEDFORWARD + NORM),
        "head.weight",
    ]


def test_names_of_what_other_parts_add():
    plain = dict(build("transformer", **TINY).named_parameters()).keys()
    changed = build("transformer", **TINY, norm="pre", position="learned")
    assert dict(changed.named_parameters()).keys() - plain == {
        f"{side}.{name}"
        for side in ("encoder", "decoder")
        for name in (*NORM, "position.table.weight")
    }


def test_names_of_taps():
    taps = [
        name for name, part in build("transformer", **TINY).named_modules() if isinstance(part, Tap)
    ]
    assert taps == [
        "encoder.blocks.0.attention.layer.attend.weights",
        "encoder.blocks.0.attention.stream",
        "encoder.blocks.0.feedforward.stream",
        "decoder.blocks.0.attention.layer.attend.weights",
        "decoder.blocks.0.attention.stream",
        "decoder.blocks.0.cross.layer.attend.weights",
        "decoder.blocks.0.cross.stream",
        "decoder.blocks.0.feedforward.stream",
    ]


@pytest.mark.parametrize(("tied", "tables"), [("all", 1), ("output", 2), ("none", 3)])
def test_embeddings_and_head_share(tied, tables):
    network = build("transformer", **TINY, tied=tied)
    source, target, head = (
        network.source_embed.table.weight,
        network.target_embed.table.weight,
        network.head.weight,
    )
    assert len({id(source), id(target), id(head)}) == tables
    assert (head is target) == (tied != "none")
    assert (source is target) == (tied == "all")
    alone = sum(p.numel() for p in build("transformer", **TINY, tied="all").parameters())
    assert sum(p.numel() for p in network.parameters()) == alone + (tables - 1) * 10 * 8


def test_sharing_is_of_the_embeddings_start():
    network = build("transformer", **TINY | {"vocab_size": 1000, "d_model": 64}, tied="output")
    with torch.no_grad():
        assert network.head.weight.std().item() == pytest.approx(64**-0.5, rel=0.05)


def test_the_papers_models_have_the_papers_number_of_parameters():
    """Table 3 of the paper: 65 and 213 million, with 37,000 shared pieces."""
    with torch.device("meta"):
        sizes = {
            size: sum(p.numel() for p in build("transformer", size, vocab_size=37_000).parameters())
            for size in ("base", "big")
        }
    assert sizes["base"] == pytest.approx(65e6, rel=0.04)
    assert sizes["big"] == pytest.approx(213e6, rel=0.02)


def test_a_size_is_changed_by_keys():
    config = configure("transformer", "tiny", vocab_size=10, d_ff=7)
    assert (config.d_model, config.d_ff) == (128, 7)


def test_each_dropout_is_its_own_knob():
    network = build(
        "transformer", **TINY, dropout=0.1, embedding_dropout=0.2, attention_dropout=0.3
    )
    rates = {name: part.p for name, part in network.named_modules() if isinstance(part, Dropout)}
    for name, rate in rates.items():
        if ".feedforward.layer." in name:
            assert rate == 0, name  # the paper drops out no activations
            continue
        kind = (
            "attend" if ".attend." in name else "embedding" if name.count(".") == 1 else "residual"
        )
        assert rate == {"residual": 0.1, "embedding": 0.2, "attend": 0.3}[kind], name
    assert build("transformer", **TINY, dropout=0.4).encoder.dropout.p == 0.4


def test_the_decoder_may_be_of_another_depth():
    network = build("transformer", **TINY | {"n_layers": 3}, n_decoder_layers=1)
    assert (len(network.encoder.blocks), len(network.decoder.blocks)) == (3, 1)


def test_only_pre_norm_stacks_end_with_a_norm():
    assert isinstance(build("transformer", **TINY, norm="pre").decoder.norm, nn.LayerNorm)
    assert isinstance(build("transformer", **TINY, norm="post").decoder.norm, nn.Identity)


@pytest.mark.parametrize(
    ("keys", "bound"),
    [
        ({}, None),
        ({"position": "learned"}, 20),
        ({"score": "location"}, 20),
        ({"score": "additive"}, None),
    ],
)
def test_a_model_says_how_far_it_reaches(keys, bound):
    assert build("transformer", **TINY, max_length=20, **keys).max_length == bound


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"d_model": 10, "n_heads": 4},
            "d_model 10 is not divisible by n_heads 4; change one or give d_head",
        ),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_heads 4 is not divisible by n_kv_heads 3"),
        (
            {"d_model": 7, "n_heads": 1},
            "sinusoidal positions need embeddings of an even width, got 7; use learned positions",
        ),
        (
            {"source_vocab_size": 9},
            "tied = 'all' needs one vocabulary; use tied = 'output' with separate ones",
        ),
        ({"d_modle": 8}, "d_modle: unknown key; did you mean 'd_model'?"),
        ({"norm": "posst"}, "norm: unknown value 'posst'; did you mean 'post'?"),
        ({"score": "scaled"}, "score: unknown value 'scaled'; did you mean 'scaled_dot'?"),
        ({"dropout": 1.0}, "dropout: should be less than 1, not 1.0"),
        ({"norm_eps": float("inf")}, "norm_eps: should be a finite number, not inf"),
        ({"d_ff": "16"}, "d_ff: should be a valid integer, not '16'"),
    ],
)
def test_what_cannot_be_built_says_why(keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build("transformer", **TINY | keys)


@pytest.mark.parametrize("value", [0, -3])
@pytest.mark.parametrize("key", SIZES)
def test_sizes_are_positive(key, value):
    with pytest.raises(ValueError, match=f"{key}: should be greater than 0, not {value}"):
        build("transformer", **TINY | {key: value})


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="vocab_size: is missing"):
        build("transformer")


def test_unknown_families_and_sizes_name_the_nearest():
    with pytest.raises(
        ValueError, match="unknown model family 'transfomer'; did you mean 'transformer'"
    ):
        build("transfomer")
    with pytest.raises(ValueError, match="transformer has no size 'bigg'; did you mean 'big'"):
        build("transformer", "bigg")
