"""Recurrences are PyTorch's, step by step and over padded rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sublayer.layers.mask import Padding
from sublayer.layers.recurrent import (
    GRUCell,
    LSTMCell,
    RecurrentEncoder,
    StatesEncoder,
    VectorEncoder,
    begin_well,
    last_of,
    run,
    split,
    turned,
)

E, D, M = 5, 4, 3
KINDS = {"lstm": (LSTMCell, nn.LSTM, nn.LSTMCell), "gru": (GRUCell, nn.GRU, nn.GRUCell)}
LENGTHS = torch.tensor([6, 2, 4])
VALID = torch.arange(6) < LENGTHS.unsqueeze(1)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def theirs_of(cell, kind):
    """PyTorch's cell with the weights of ours; the context is read behind the input."""
    theirs = kind(E + M, D)
    with torch.no_grad():
        theirs.weight_ih.copy_(torch.cat([cell.read.weight, cell.attend.weight], 1))
        theirs.bias_ih.copy_(cell.read.bias)
        theirs.weight_hh.copy_(cell.recall.weight)
        theirs.bias_hh.copy_(cell.recall.bias)
    return theirs


def test_a_cell_is_pytorchs_step_by_step(kind):
    ours = kind[0](E, D, M)
    for bias in (ours.read.bias, ours.recall.bias):
        nn.init.normal_(bias)
    theirs = theirs_of(ours, kind[2])
    states = tuple(torch.randn(2, D) for _ in range(ours.n_states))
    expected = states
    for _ in range(5):
        x, context = torch.randn(2, E), torch.randn(2, M)
        states = ours(ours.read(x), states, context)
        read = torch.cat([x, context], 1)
        given = theirs(read, expected if len(expected) == 2 else expected[0])
        expected = given if isinstance(given, tuple) else (given,)
        for got, wanted in zip(states, expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def gradients(loss, *leaves):
    return torch.autograd.grad(loss.square().sum(), leaves)


def same(ours, theirs):
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_unrolled_steps_have_the_gradients_of_pytorchs_cell(kind):
    """Of a cell whose context is made of the output before, as attention's is."""
    ours = kind[0](E, D, M)
    for bias in (ours.read.bias, ours.recall.bias):
        nn.init.normal_(bias)
    theirs, x, back = theirs_of(ours, kind[2]), torch.randn(5, 2, 1, E), nn.Linear(D, M)
    first = tuple(torch.randn(2, 1, D, requires_grad=True) for _ in range(ours.n_states))
    step, states, outputs = ours.unroll(ours.read(x)), first, []
    for _ in range(5):
        states = step(states, back(states[0]))
        outputs.append(states[0])
    expected, wanted = tuple(s[:, 0] for s in first), []
    for i in range(5):
        read = torch.cat([x[i, :, 0], back(expected[0])], 1)
        given = theirs(read, expected if len(expected) == 2 else expected[0])
        expected = given if isinstance(given, tuple) else (given,)
        wanted.append(expected[0][:, None])
    same(outputs, wanted)
    of_loop = (ours.read.weight, ours.attend.weight, ours.recall.weight)
    leaves = (*first, *back.parameters())
    found = gradients(torch.cat(outputs), *of_loop, ours.read.bias, ours.recall.bias, *leaves)
    both = (theirs.weight_hh, theirs.bias_ih, theirs.bias_hh)
    reads, *rest = gradients(torch.cat(wanted), theirs.weight_ih, *both, *leaves)
    same(found, (reads[:, :E], reads[:, E:], *rest))


def test_steps_over_what_each_reads_have_the_gradients_of_the_cell(kind):
    cell, x = kind[0](E, D), torch.randn(5, 2, 1, E, requires_grad=True)
    found = []
    for unrolled in (True, False):
        states = tuple(torch.zeros(2, 1, D) for _ in range(cell.n_states))
        step, outputs = cell.unroll_over((5, 2, 1)), []
        for i in range(5):
            states = step(states, x[i]) if unrolled else cell(cell.read(x[i]), states)
            outputs.append(states[0])
        found.append([*outputs, *gradients(torch.stack(outputs), x, *cell.parameters())])
    same(*found)


@pytest.mark.parametrize("part", ["recall", "attend", "."])
def test_a_cell_that_is_listened_to_takes_its_steps_itself(kind, part):
    cell, heard = kind[0](E, D, M), []
    listened = cell if part == "." else getattr(cell, part)
    listened.register_forward_hook(lambda *given: heard.append(given))
    step, states = cell.unroll(cell.read(torch.randn(3, 2, 1, E))), (torch.zeros(2, 1, D),) * 2
    for _ in range(3):
        states = step(states[: cell.n_states], torch.randn(2, 1, M))
    assert len(heard) == 3


def test_bfloat16_steps_differ_by_its_roundings(kind):
    cell = kind[0](E, D, M)
    x, context = torch.randn(5, 2, 1, E), torch.randn(5, 2, 1, M)
    found = []
    for dtype in (torch.bfloat16, None):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
            states = tuple(torch.zeros(2, 1, D) for _ in range(cell.n_states))
            step = cell.unroll(cell.read(x))
            for i in range(5):
                states = step(states, context[i])
        found.append([states[0].float(), *gradients(states[0].float(), *cell.parameters())])
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_gru_in_training_is_pytorchs(n_layers):
    layers = nn.GRU(E, D, n_layers, batch_first=True)
    x = torch.randn(3, 6, E, requires_grad=True)
    first = torch.randn(n_layers, 3, D, requires_grad=True)
    leaves = (x, first, *layers.parameters())
    out, (last,) = run(layers, x, (first,))
    expected, theirs = layers(x, first)
    same((out, last), (expected, theirs))
    same(
        gradients(torch.cat([out.mT.flatten(), last.flatten()]), *leaves),
        gradients(torch.cat([expected.mT.flatten(), theirs.flatten()]), *leaves),
    )
    layers.weight_hh_l0.requires_grad_(False)
    run(layers, x)[0].square().sum().backward()
    ours, x.grad = x.grad, None
    layers(x)[0].square().sum().backward()
    same([ours], [x.grad])
    assert layers.weight_hh_l0.grad is None
    with torch.no_grad():
        same([run(layers, x)[0]], [layers(x)[0]])


def test_a_gru_that_is_listened_to_is_called():
    layers, heard = nn.GRU(E, D, batch_first=True), []
    layers.register_forward_hook(lambda *given: heard.append(given))
    run(layers, torch.randn(3, 6, E))
    assert len(heard) == 1


@pytest.mark.parametrize("both_ways", [False, True])
def test_padded_rows_are_those_of_a_packed_sequence(kind, both_ways):
    ours = RecurrentEncoder(kind[0], (E, D), 2, both_ways=both_ways)
    theirs = kind[1](E, D, 2, batch_first=True, bidirectional=both_ways)
    with torch.no_grad():
        for i in range(2):
            for name, p in ours.forward_layers[i].named_parameters():
                theirs.get_parameter(name.replace("_l0", f"_l{i}")).copy_(p)
            if both_ways:
                for name, p in ours.backward_layers[i].named_parameters():
                    theirs.get_parameter(name.replace("_l0", f"_l{i}_reverse")).copy_(p)
    x = torch.randn(3, 6, E)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    found = ours(x, Padding(VALID))
    torch.testing.assert_close(found[VALID], expected[VALID], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(x[:1]), ours(x[:1], Padding(VALID[:1])))


@pytest.mark.parametrize("backwards", [False, True])
def test_states_are_those_behind_the_last_token(kind, backwards):
    ours = StatesEncoder(kind[0], (E, D), 2, backwards=backwards)
    x = torch.randn(3, 6, E)
    found = ours(x, Padding(VALID))
    assert found.shape == (3, 1, ours.layers.num_layers * kind[0].n_states * D)
    for row, length in enumerate(LENGTHS.tolist()):
        text = x[row : row + 1, :length]
        _, states = ours.layers(text.flip(1) if backwards else text)
        each = states if isinstance(states, tuple) else (states,)
        for got, wanted in zip(split(found[row : row + 1], len(each), 2), each, strict=True):
            torch.testing.assert_close(got[0, 0], wanted[:, 0], rtol=1e-5, atol=1e-5)


def test_a_vector_is_made_of_the_last_output(kind):
    encoder = RecurrentEncoder(kind[0], (E, D), 1)
    ours, x = VectorEncoder(encoder, D), torch.randn(3, 6, E)
    found = ours(x, Padding(VALID))
    for row, length in enumerate(LENGTHS.tolist()):
        last = encoder(x[row : row + 1, :length])[:, -1]
        torch.testing.assert_close(found[row], torch.tanh(ours.vector(last)))


def test_rows_turn_around_what_is_real_of_them():
    x = torch.arange(6.0).expand(3, 6).unsqueeze(2)
    assert turned(x, LENGTHS).squeeze(2).tolist() == [
        [5, 4, 3, 2, 1, 0],
        [1, 0, 2, 3, 4, 5],
        [3, 2, 1, 0, 4, 5],
    ]
    assert torch.equal(turned(x, None), x.flip(1))
    assert last_of(x, LENGTHS).flatten().tolist() == [5, 1, 3]
    assert last_of(x, None).flatten().tolist() == [5, 5, 5]


def test_recurrent_matrices_begin_orthogonal_and_forget_gates_open(kind):
    module = nn.ModuleList([kind[0](E, D), kind[1](E, D)])
    begin_well(module)
    cell, fused = module
    for weight in (cell.recall.weight, fused.weight_hh_l0):
        for gate in weight.chunk(cell.n_gates):
            torch.testing.assert_close(gate @ gate.T, torch.eye(D), rtol=0, atol=1e-5)
    for bias in (cell.read.bias, fused.bias_ih_l0):
        gates = bias.chunk(cell.n_gates)
        ones = [bool((gate == 1).all()) for gate in gates]
        assert ones == ([False, True, False, False] if cell.n_states == 2 else [False] * 3)
    assert not fused.bias_hh_l0.any()
