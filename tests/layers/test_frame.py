"""A frame makes each dense tensor once, and knows the plain triangle."""

from __future__ import annotations

import torch

from sublayer.layers.frame import Frame
from sublayer.layers.mask import Causal, Padding
from sublayer.layers.position import Position

PAST = torch.arange(3)


def test_only_the_whole_triangle_is_the_kernels_causal_flag():
    assert Frame(PAST, PAST, Causal()).is_causal
    assert not Frame(PAST[1:], PAST, Causal()).is_causal
    assert not Frame(PAST, PAST).is_causal
    assert not Frame(PAST, PAST, Causal() & Padding(torch.ones(2, 3, dtype=torch.bool))).is_causal
    by_row = PAST.expand(2, 3)
    assert not Frame(by_row, by_row, Causal()).is_causal


def test_dense_tensors_are_made_once():
    class Counting(Position):
        asked = 0

        def bias(self, q_pos, k_pos):
            self.asked += 1
            return torch.zeros(len(q_pos), len(k_pos))

    scheme = Counting()
    frame = Frame(PAST, PAST, Causal(), scheme)
    assert frame.allowed() is frame.allowed()
    assert frame.bias() is frame.bias()
    assert scheme.asked == 1


def test_without_mask_and_scheme_there_is_nothing_to_make():
    frame = Frame(PAST, PAST)
    assert frame.allowed() is None
    assert frame.bias() is None
    q, k = torch.zeros(1, 1, 3, 2), torch.ones(1, 1, 3, 2)
    assert frame.turn(q, k) == (q, k)


def test_new_queries_and_new_keys_turn_by_the_same_positions():
    class Turning(Position):
        def turn(self, x, positions):
            return x + positions.unsqueeze(-1)

    new = torch.zeros(1, 1, 1, 2)
    q, k = Frame(PAST[2:], PAST, position=Turning()).turn(new, new)
    assert torch.equal(q, new + 2)
    assert torch.equal(k, new + 2)
