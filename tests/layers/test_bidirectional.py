"""Both directions against PyTorch's LSTM step by step; who sees whom; the mix by its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.layers.bidirectional import BidirectionalStack, LayerMix, MixedReader, ProjectedLSTM
from sublayer.layers.head import EveryToken
from sublayer.layers.mask import Padding
from sublayer.layers.recurrent import LSTMCell, RecurrentEncoder, begin_well

D, CELLS, LAYERS, N = 4, 7, 3, 6
LENGTHS = [6, 2, 5]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def made(d_cell: int = CELLS) -> BidirectionalStack:
    torch.manual_seed(2)
    return BidirectionalStack(D, d_cell, LAYERS).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(3, N, D, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(N) < torch.tensor(LENGTHS).unsqueeze(1)


def stepped(layer: nn.LSTM, x: torch.Tensor) -> torch.Tensor:
    """`n i` by the LSTM's equations, with the projection of Sak et al. 2014 (eq. 7)."""
    h, c, out = torch.zeros(D), torch.zeros(layer.hidden_size), []
    for x_t in x:
        gates = layer.weight_ih_l0 @ x_t + layer.weight_hh_l0 @ h + layer.bias_ih_l0
        take, keep, new, show = (gates + layer.bias_hh_l0).chunk(4)
        c = keep.sigmoid() * c + take.sigmoid() * new.tanh()
        m = show.sigmoid() * c.tanh()
        h = layer.weight_hr_l0 @ m if layer.proj_size else m
        out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("d_cell", [CELLS, D])
@torch.no_grad()
def test_each_row_is_stepped_alone(d_cell):
    stack = made(d_cell)
    x, valid = inputs()
    together = stack(x, Padding(valid)).unflatten(-1, (LAYERS + 1, 2, D))
    for row, length in enumerate(LENGTHS):
        there, back = x[row, :length], x[row, :length].flip(0)
        expected = [torch.stack([there, there], 1)]
        for number in range(LAYERS):
            ahead = stepped(stack.forward_layers[number], there)
            behind = stepped(stack.backward_layers[number], back)
            there = ahead + there if number else ahead
            back = behind + back if number else behind
            expected.append(torch.stack([there, back.flip(0)], 1))
        torch.testing.assert_close(together[row, :length], torch.stack(expected, 1), **CLOSE)


@torch.no_grad()
def test_it_is_nn_lstm():
    layer, theirs = ProjectedLSTM(5, CELLS, D), nn.LSTM(5, CELLS, proj_size=D, batch_first=True)
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 5)
    torch.testing.assert_close(layer(x)[0], theirs(x)[0])
    assert not ProjectedLSTM(5, D, D).proj_size


@torch.no_grad()
def test_padding_changes_nothing():
    stack = made()
    x, valid = inputs()
    before = stack(x, Padding(valid))
    after = stack(x.where(valid.unsqueeze(-1), torch.tensor(9.0)), Padding(valid))
    torch.testing.assert_close(before[valid], after[valid])


@pytest.mark.parametrize("padded", [False, True])
def test_no_direction_sees_what_the_other_does(padded):
    """Gradients: of words up to a place forwards, from there on backwards, and of no other."""
    stack = made()
    x, valid = inputs()
    x.requires_grad_()
    out = stack(x, Padding(valid) if padded else None).unflatten(-1, (LAYERS + 1, 2, D))
    for place in range(LENGTHS[2]):
        for direction in (0, 1):
            told = out[2, place, -1, direction].sum()
            (gradient,) = torch.autograd.grad(told, x, retain_graph=True)
            seen = gradient.abs().sum(-1)
            end = LENGTHS[2] if padded else N
            expected = torch.zeros(3, N, dtype=torch.bool)
            expected[2, slice(0, place + 1) if direction == 0 else slice(place, end)] = True
            assert torch.equal(seen > 0, expected)


@torch.no_grad()
def test_the_mix_is_its_formula():
    mix, layers = LayerMix(3), torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(mix(layers.flatten(2)), layers.mean(2))
    mix.s.copy_(torch.tensor([0.3, -1.0, 2.0]))
    mix.gamma.fill_(1.7)
    weights = torch.tensor([0.3, -1.0, 2.0]).exp()
    expected = 1.7 * sum(w / weights.sum() * layers[:, :, j] for j, w in enumerate(weights))
    torch.testing.assert_close(mix(layers.flatten(2)), expected)


@torch.no_grad()
def test_a_reader_reads_the_mix():
    torch.manual_seed(0)
    reader = RecurrentEncoder(LSTMCell, (4, 3), 1, both_ways=True)
    whole = MixedReader(LayerMix(2), reader, EveryToken()).eval()
    layers = torch.randn(2, 5, 8)
    valid = torch.tensor([[True] * 5, [True, True, False, False, False]])
    out = whole(layers, valid)
    expected = reader(layers.unflatten(-1, (2, 4)).mean(2), Padding(valid))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(out[1:, :2], whole(layers[1:, :2]), **CLOSE)
    plain = MixedReader(LayerMix(2), None, EveryToken()).eval()
    torch.testing.assert_close(plain(layers), layers.unflatten(-1, (2, 4)).mean(2))


def test_projections_begin_well():
    stack = made()
    begin_well(stack)
    layer = stack.forward_layers[0]
    for gate in layer.weight_hh_l0.chunk(4):
        torch.testing.assert_close(gate.T @ gate, torch.eye(D), **CLOSE)
    assert layer.weight_hr_l0.abs().max() <= (6 / (D + CELLS)) ** 0.5
    assert layer.bias_ih_l0.chunk(4)[1].eq(1).all()
    assert layer.bias_hh_l0.eq(0).all()
