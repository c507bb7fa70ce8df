"""Every part that a recipe can name, in every family that takes it."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from sublayer.layers.mask import Both, Causal, Window
from sublayer.layers.norm import RMSNorm
from sublayer.layers.relative import Shaw
from sublayer.layers.residual import SandwichNorm
from sublayer.layers.state import State
from sublayer.models.base import FAMILIES, build, configure
from sublayer.models.choices import (
    NORM_KINDS,
    NORMS,
    POSITIONS,
    SCORES,
    ActivationName,
    CausalScoreName,
    PartsConfig,
)
from sublayer.models.hub import (
    load_network,
    network_tensors,
    read_config,
    write_config,
    write_tensors,
)
from sublayer.models.huggingface import write_network

V, M, MAX = 20, 16, 12
TINY = {
    "vocab_size": V,
    "d_model": M,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 24,
    "max_length": MAX,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
DECODERS = ["gpt", "llama"]
ENCODERS = ["bert", "albert"]
OWN = {family: {"head": "masked", "pooler": False} for family in ENCODERS}
EVERY = ["transformer", *ENCODERS, *DECODERS]
WORDS = {
    "position": list(POSITIONS),
    "norm": list(NORMS),
    "norm_kind": list(NORM_KINDS),
    "activation": list(get_args(ActivationName)),
    "gated": [False, True],
}
CHOICES = [(key, word) for key, words in WORDS.items() for word in words]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
IDS = torch.tensor([[5, 6, 7, 8, 2, 9, 4], [4, 3, 12, 9, 0, 0, 0], [3, 8, 8, 2, 11, 0, 0]])
VALID = IDS != 0
TARGET = torch.tensor([[1, 14, 5, 6, 10, 3], [1, 7, 18, 9, 10, 13], [1, 9, 9, 15, 6, 2]])


def tiny(family):
    """ALBERT's depth is how often it goes through its one block; its embeddings are narrow."""
    if family != "albert":
        return TINY
    return {key: n for key, n in TINY.items() if key != "n_layers"} | {
        "rounds": 2,
        "d_embedding": 6,
    }


def make(family, **keys):
    """With weights large enough that no part is without effect."""
    network = build(family, **tiny(family) | OWN.get(family, {}) | keys).eval()
    for weight in network.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.3)
    return network


def run(network, family, ids=IDS, valid=VALID):
    return (
        network(ids, TARGET[: len(ids)], valid) if family == "transformer" else network(ids, valid)
    )


def scores_of(family):
    return list(get_args(CausalScoreName)) if family in DECODERS else list(SCORES)


def test_these_are_the_families_that_choose():
    assert {name for name in FAMILIES if issubclass(FAMILIES[name], PartsConfig)} == set(EVERY)


@pytest.mark.parametrize(("key", "word"), CHOICES)
@pytest.mark.parametrize("family", EVERY)
def test_a_step_of_training_reaches_every_parameter(family, key, word):
    network = make(family, **{key: word}).train()
    before = [weight.detach().clone() for weight in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    run(network, family)[:, :4].square().sum().backward()
    optimizer.step()
    moved = [
        (name, not torch.equal(weight, old))
        for (name, weight), old in zip(network.named_parameters(), before, strict=True)
    ]
    # a bias of keys adds the same to all scores of a query: its gradient is rounding
    assert [name for name, has in moved if not has and not name.endswith("layer.k.bias")] == []


@pytest.mark.parametrize("family", EVERY)
def test_every_score_goes_with_positions_that_turn_or_add(family):
    for score in scores_of(family):
        for position in ("rotary", "buckets", "alibi", "none"):
            assert run(make(family, score=score, position=position), family).isfinite().all()


@pytest.mark.parametrize(("key", "word"), CHOICES)
@pytest.mark.parametrize("family", EVERY)
@torch.no_grad()
def test_a_row_does_not_depend_on_its_neighbours(family, key, word):
    network = make(family, **{key: word})
    together = run(network, family)
    for row, length in enumerate(VALID.sum(1).tolist()):
        alone = IDS[row : row + 1, :length]
        if family == "transformer":
            expected = network(alone, TARGET[row : row + 1])
            torch.testing.assert_close(together[row : row + 1], expected, **CLOSE)
        else:
            torch.testing.assert_close(together[row, :length], network(alone)[0], **CLOSE)


@pytest.mark.parametrize("steps", [[1] * 6, [3, 1, 2]], ids=["one by one", "in pieces"])
@pytest.mark.parametrize(("key", "word"), CHOICES)
@torch.no_grad()
def test_cached_equals_uncached_with_a_source(key, word, steps):
    network, state = make("transformer", **{key: word}), State()
    memory = network.encode(IDS, VALID)
    cached = [network.decode(new, memory, VALID, state) for new in TARGET.split(steps, 1)]
    torch.testing.assert_close(torch.cat(cached, 1), network(IDS, TARGET, VALID), **CLOSE)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(
    ("key", "word"), [*CHOICES, *(("score", s) for s in get_args(CausalScoreName))]
)
@pytest.mark.parametrize("family", DECODERS)
@torch.no_grad()
def test_cached_equals_uncached_where_rows_are_of_unlike_length(family, key, word, window):
    network, state = make(family, window=window, **{key: word}), State()
    more = TARGET[:, 1:5]
    out = [network(IDS, VALID, state)]
    out += [network(more[:, i : i + 1], state=state) for i in range(more.shape[1])]
    for row, n in enumerate(VALID.sum(1).tolist()):
        alone = torch.cat([IDS[row, :n], more[row]]).unsqueeze(0)
        cached = torch.cat([out[0][row, :n], *(step[row] for step in out[1:])])
        torch.testing.assert_close(cached, network(alone)[0], **CLOSE)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["transformer", *ENCODERS])
@torch.no_grad()
def test_an_encoder_sees_the_order_of_its_tokens_if_it_has_positions(family, position):
    network = make(family, position=position)
    ids, order = IDS[:1], torch.tensor([1, 0, 2, 5, 3, 6, 4])
    if family == "transformer":
        as_it_was, permuted = network.encode(ids)[:, order], network.encode(ids[:, order])
    else:
        as_it_was, permuted = network.hidden(ids)[:, order], network.hidden(ids[:, order])
    same = torch.allclose(as_it_was, permuted, **CLOSE)
    assert same == (position == "none")


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", [*DECODERS, "transformer"])
@torch.no_grad()
def test_a_decoder_sees_the_order_even_without(family, position):
    """The causal mask tells it, over two layers (Haviv et al. 2022)."""
    network = make(family, position=position)

    def last(ids):
        return network(IDS, ids)[:, -1] if family == "transformer" else network(ids)[:, -1]

    permuted = TARGET[:, [2, 0, 3, 1, 4, 5]]
    assert not torch.allclose(last(TARGET), last(permuted), **CLOSE)


@pytest.mark.parametrize(
    ("key", "word"), [*CHOICES, *(("score", s) for s in get_args(CausalScoreName))]
)
@pytest.mark.parametrize("family", EVERY)
@torch.no_grad()
def test_every_choice_comes_back_from_its_folder(family, key, word, tmp_path):
    network = make(family, **{key: word})
    config = configure(family, **tiny(family) | OWN.get(family, {}) | {key: word})
    write_config(config, family, tmp_path)
    write_tensors(network_tensors(network), tmp_path / "model.safetensors")
    assert read_config(tmp_path) == (family, config)
    again = load_network(tmp_path)
    assert torch.equal(run(again, family), run(network, family))


@pytest.mark.parametrize("position", sorted(POSITIONS.keys() - {"learned"}))
@pytest.mark.parametrize("family", EVERY)
@torch.no_grad()
def test_only_learned_positions_end(family, position):
    ids, target = torch.randint(V, (1, MAX + 3)), torch.randint(V, (1, MAX + 2))
    given = (ids, target) if family == "transformer" else (ids,)
    network = make(family, position=position)
    assert network.max_length is None
    assert network(*given).isfinite().all()
    bounded = make(family, position="learned")
    assert bounded.max_length == MAX
    with pytest.raises(ValueError, match=f"{MAX + 3} positions, but the model learned {MAX}"):
        bounded(*given)


@pytest.mark.parametrize("kind", NORM_KINDS)
@pytest.mark.parametrize("family", EVERY)
def test_a_sandwich_has_two_norms_a_sublayer_and_one_at_the_end(family, kind):
    network = make(family, norm="sandwich", norm_kind=kind)
    expected = {"layer": nn.LayerNorm, "rms": RMSNorm}[kind]
    sandwiches = [part for part in network.modules() if isinstance(part, SandwichNorm)]
    assert len(sandwiches) == {"transformer": 2 * 2 + 2 * 3, "albert": 2}.get(family, 2 * 2)
    for part in sandwiches:
        assert type(part.norm) is type(part.after) is expected
        assert part.norm is not part.after
    stacks = [network.encoder, network.decoder] if family == "transformer" else [network.stack]
    assert all(type(stack.norm) is expected for stack in stacks)
    posted = make(family, norm="post", norm_kind=kind)
    stacks = [posted.encoder, posted.decoder] if family == "transformer" else [posted.stack]
    assert all(type(stack.norm) is nn.Identity for stack in stacks)


@pytest.mark.parametrize("family", EVERY)
def test_a_gate_is_a_third_matrix_without_biases(family):
    layers = {
        gated: dict(make(family, gated=gated).named_parameters()).keys() for gated in (True, False)
    }
    added = {name for name in layers[True] - layers[False] if ".feedforward.layer.gate." in name}
    assert added
    assert all(name.endswith("weight") for name in added)
    assert not [n for n in layers[True] if ".feedforward.layer." in n and n.endswith("bias")]


def test_attention_to_the_source_has_no_positions():
    network = make("transformer", position="shaw", farthest=5)
    for block in network.decoder.blocks:
        assert isinstance(block.attention.layer.attend.score, Shaw)
        assert block.attention.layer.attend.score.farthest == 5
        assert not isinstance(block.cross.layer.attend.score, Shaw)


def test_buckets_look_both_ways_in_an_encoder_only():
    network = make("transformer", position="buckets", farthest=40)
    assert network.encoder.position.both_ways
    assert not network.decoder.position.both_ways
    assert network.encoder.position.farthest == 40
    assert network.encoder.position is not network.decoder.position


def test_a_gpt_may_have_a_window():
    network = make("gpt", window=3)
    assert network.mask == Both(Causal(), Window(3))
    with torch.no_grad():
        one_layer = make("gpt", window=3, n_layers=1)
        changed = IDS.clone()
        changed[:, 0] = 17
        same = (one_layer(IDS) - one_layer(changed)).abs().amax((0, 2)) < 1e-6
    assert same.tolist() == [False] * 3 + [True] * 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"position": "shaw", "score": "additive"},
            "'shaw' is a score and takes the place of scaled_dot, so it does not go with score = "
            "'additive'; leave one out",
        ),
        ({"position": "rotary", "d_model": 12}, "heads of even width, got 3"),
        (
            {"position": "sinusoidal", "d_model": 15, "n_heads": 3, "d_embedding": 15},
            "embeddings of an even width, got 15; use",
        ),
        ({"position": "alibi", "farthest": 9}, "'buckets' or 'shaw', not 'alibi'; leave it out"),
        ({"position": "buckets", "farthest": 16}, "farthest 16 leaves nothing .* over 16"),
        ({"position": "rotery"}, "'rotary'"),
        ({"norm": "sandwitch"}, "'sandwich'"),
    ],
)
@pytest.mark.parametrize("family", EVERY)
def test_what_does_not_go_together_is_told(family, keys, message):
    keys = {key: n for key, n in keys.items() if key != "d_embedding" or family == "albert"}
    with pytest.raises(ValueError, match=message):
        configure(family, **tiny(family) | keys)


def test_keys_of_a_scheme_that_is_not_there_are_told():
    with pytest.raises(ValueError, match="skipped_positions are rows of learned positions"):
        configure("bert", **TINY, skipped_positions=2, position="alibi")
    scaling = {"kind": "linear", "factor": 2.0, "trained": 8}
    with pytest.raises(ValueError, match=r"scaling stretches rotary positions, not .* 'learned'"):
        configure("llama", **TINY, scaling=scaling, position="learned")
    with pytest.raises(ValueError, match="score"):
        configure("gpt", **TINY, score="location")


@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS])
@pytest.mark.parametrize(
    "keys",
    [
        {"position": "none"},
        {"position": "shaw"},
        {"norm": "sandwich"},
        {"score": "dot"},
        {"gated": None},  # the other than is published
        {"norm_kind": None},
    ],
    ids=lambda keys: "-".join(keys),
)
def test_what_transformers_cannot_hold_is_not_written(family, keys, tmp_path):
    published = configure(family, **tiny(family))
    assert isinstance(published, PartsConfig)
    other = {
        "gated": not published.gated,
        "norm_kind": "layer" if published.norm_kind == "rms" else "rms",
    }
    keys = {key: other.get(key) if word is None else word for key, word in keys.items()}
    config = configure(family, **tiny(family), **keys)
    told = " and ".join(f"{key} = {word!r}" for key, word in keys.items())
    with pytest.raises(ValueError, match=rf"no architecture for a .* with {told}; keep"):
        write_network(config.build(), family, config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_gpt_with_a_window_is_not_written(tmp_path):
    config = configure("gpt", **TINY, window=4)
    with pytest.raises(ValueError, match="no architecture for a 'gpt2' with window = 4; keep"):
        write_network(config.build(), "gpt", config, tmp_path)


@pytest.mark.parametrize("activation", get_args(ActivationName))
@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS])
def test_every_activation_is_one_of_transformers(family, activation, tmp_path):
    config = configure(family, **tiny(family), activation=activation)
    write_network(config.build(), family, config, tmp_path)
