"""Position schemes against their formulas, and what they do beyond their table."""

from __future__ import annotations

import math

import pytest
import torch

from sublayer.layers.position import Learned, Position, Sinusoidal, sinusoids


def test_sinusoids_are_the_papers_formula():
    n, m = 50, 12
    table = torch.empty(n, m)
    for pos in range(n):
        for i in range(m // 2):
            angle = pos / 10_000 ** (2 * i / m)
            table[pos, 2 * i], table[pos, 2 * i + 1] = math.sin(angle), math.cos(angle)
    torch.testing.assert_close(sinusoids(n, m), table, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scheme", [Sinusoidal, Learned])
def test_the_rows_of_the_positions_are_added(scheme):
    position, x = scheme(8, 4), torch.randn(2, 3, 4)
    table = sinusoids(8, 4) if scheme is Sinusoidal else position.table.weight
    torch.testing.assert_close(position.embed(x, torch.tensor([5, 0, 7])), x + table[[5, 0, 7]])
    by_row = torch.tensor([[1, 2, 3], [4, 0, 4]])
    torch.testing.assert_close(position.embed(x, by_row), x + table[by_row])


def test_sinusoids_reach_as_far_as_asked():
    position = Sinusoidal(4, 6)
    position.reach(100)
    out = position.embed(torch.zeros(1, 100, 6), torch.arange(100))
    torch.testing.assert_close(out[0], sinusoids(100, 6))


def test_sinusoids_are_no_weights():
    assert not Sinusoidal(4, 6).state_dict()


def test_odd_width_is_refused():
    with pytest.raises(
        ValueError, match="sinusoidal positions need an even d_model, got 7; use learned"
    ):
        sinusoids(3, 7)


def test_learned_positions_end():
    position = Learned(4, 6)
    position.reach(4)
    with pytest.raises(
        ValueError, match="5 positions, but the model learned 4; shorten the text or train"
    ):
        position.reach(5)


def test_a_scheme_answers_nothing_unless_it_overrides():
    scheme, x, at = Position(), torch.randn(1, 2, 3, 4), torch.arange(3)
    assert scheme.embed(x, at) is x
    assert scheme.turn(x, at) is x
    assert scheme.bias(at, at) is None
