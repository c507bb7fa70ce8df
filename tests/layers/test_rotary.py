"""Rotary positions against their definition, and their scalings against Hugging Face's."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from sublayer.layers import rotary
from sublayer.layers.rotary import Rotary, plain


def test_each_pair_turns_by_position_times_rate():
    d, position, x = 6, Rotary(plain(6, 100.0)), torch.randn(1, 2, 3, 6)
    places = torch.tensor([0, 4, 9])
    out = position.turn(x, places)
    for j, place in enumerate([0, 4, 9]):
        for i in range(d // 2):
            angle = place * 100.0 ** (-2 * i / d)
            turned = torch.complex(x[0, :, j, i], x[0, :, j, i + d // 2]) * complex(
                math.cos(angle), math.sin(angle)
            )
            torch.testing.assert_close(out[0, :, j, i], turned.real)
            torch.testing.assert_close(out[0, :, j, i + d // 2], turned.imag)


def test_a_product_depends_on_the_distance_alone():
    position, q, k = Rotary(plain(8)), torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product(i, j):
        return (position.turn(q, torch.tensor([i])) * position.turn(k, torch.tensor([j]))).sum()

    torch.testing.assert_close(product(3, 1), product(40, 38))


def test_positions_may_differ_by_row():
    position, x = Rotary(plain(8)), torch.randn(2, 3, 4, 8)
    places = torch.tensor([[0, 1, 2, 3], [5, 6, 9, 2]])
    out = position.turn(x, places)
    for row in range(2):
        torch.testing.assert_close(out[row], position.turn(x[row : row + 1], places[row])[0])


def test_the_table_reaches_as_far_as_asked_and_is_no_weight():
    position, x = Rotary(plain(8)), torch.randn(1, 1, 1, 8)
    position.reach(500)
    far = Rotary(plain(8))
    far.reach(1000)
    at = torch.tensor([499])
    torch.testing.assert_close(position.turn(x, at), far.turn(x, at))
    assert not position.state_dict()


D, THETA, TRAINED = 16, 10_000.0, 64
SHORT, LONG = [1.0 + i / 10 for i in range(8)], [2.0 + i for i in range(8)]
SCALINGS = {
    "linear": ({"factor": 4.0}, rotary.linear(D, THETA, 4.0), 1.0),
    "dynamic": ({"factor": 4.0}, rotary.dynamic(D, THETA, 4.0, TRAINED), 1.0),
    "yarn": (
        {"factor": 4.0, "original_max_position_embeddings": TRAINED},
        rotary.yarn(D, THETA, 4.0, TRAINED),
        rotary.yarn_strength(4.0),
    ),
    "llama3": (
        {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": TRAINED,
        },
        rotary.llama3(D, THETA, 8.0, TRAINED),
        1.0,
    ),
    "longrope": (
        {
            "factor": 4.0,
            "short_factor": SHORT,
            "long_factor": LONG,
            "original_max_position_embeddings": TRAINED,
        },
        rotary.longrope(D, THETA, SHORT, LONG, TRAINED),
        rotary.longrope_strength(4.0, TRAINED),
    ),
}


@pytest.mark.parametrize("length", [10, 64, 200])
@pytest.mark.parametrize("kind", SCALINGS)
def test_rates_are_those_of_hugging_face(kind, length):
    keys, rates, strength = SCALINGS[kind]
    config = LlamaConfig(
        hidden_size=2 * D,
        num_attention_heads=2,
        max_position_embeddings=TRAINED,
        rope_parameters={"rope_type": kind, "rope_theta": THETA, **keys},
    )
    theirs, their_strength = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)
    torch.testing.assert_close(rates(length).float(), theirs, atol=1e-7, rtol=1e-5)
    assert strength == pytest.approx(their_strength)


def test_rates_follow_the_length():
    position = Rotary(rotary.longrope(D, THETA, SHORT, LONG, TRAINED))
    x, at = torch.randn(1, 1, 1, D), torch.tensor([5])
    position.reach(10)
    near = position.turn(x, at)
    position.reach(TRAINED + 1)
    assert not torch.allclose(position.turn(x, at), near)
    position.reach(10)
    torch.testing.assert_close(position.turn(x, at), near)


def test_a_wrong_number_of_divisors_is_told():
    with pytest.raises(ValueError, match="short has 3 divisors, a head of width 16 needs 8"):
        rotary.longrope(16, THETA, [1.0] * 3, [1.0] * 8, 64)
