"""Recurrent models from text to text: their papers' equations in loops, steps, beams, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.generation.generate import generate
from sublayer.generation.hypothesis import SearchOptions
from sublayer.layers import alignment, readout, recurrent
from sublayer.layers.state import State
from sublayer.lens.record import record
from sublayer.models.base import build, configure

SOURCE = torch.tensor([[4, 5, 6, 7, 2], [5, 2, 0, 0, 0], [3, 6, 2, 0, 0]])
TARGET = torch.tensor([[1, 4, 5, 6], [1, 5, 0, 0], [1, 3, 6, 0]])
VALID = SOURCE != 0
D, V = 8, 9
VARIANTS = {
    "cho": {"attention": "none"},
    "cho lstm": {"attention": "none", "cell": "lstm", "n_layers": 2},
    "sutskever": {"attention": "none", "vector": "start", "cell": "lstm", "n_layers": 2},
    "sutskever backwards": {"attention": "none", "vector": "start", "backwards": True},
    "bahdanau": {},
    "bahdanau lstm": {"cell": "lstm", "score": "general"},
    "bahdanau one way": {"both_ways": False, "score": "dot"},
    "luong": {"attention": "luong", "cell": "lstm", "n_layers": 2},
    "luong both ways": {"attention": "luong", "score": "additive", "both_ways": True},
    "luong without feeding": {"attention": "luong", "input_feeding": False, "n_layers": 2},
    "luong local-m": {"attention": "luong", "local": "monotonic", "reach": 1},
    "luong local-p": {"attention": "luong", "local": "predictive", "reach": 2, "score": "dot"},
    "location": {"score": "location", "max_length": 6},
    "content": {"attention": "luong", "score": "content", "input_feeding": False},
    "scaled": {"attention": "luong", "score": "scaled_dot"},
}


def made(**keys):
    torch.manual_seed(1)
    network = build("rnn_seq2seq", vocab_size=V, d_model=D, **({"dropout": 0.0} | keys)).eval()
    nn.init.normal_(network.head.weight)
    return network


@pytest.fixture(params=VARIANTS)
def network(request):
    return made(**VARIANTS[request.param])


@torch.no_grad()
def test_a_row_does_not_feel_its_padding(network):
    together = network(SOURCE, TARGET, VALID)
    for row, length in enumerate(VALID.sum(1).tolist()):
        alone = network(SOURCE[row : row + 1, :length], TARGET[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_steps_are_the_whole(network):
    whole, memory, state = network(SOURCE, TARGET, VALID), network.encode(SOURCE, VALID), State()
    first = network.decode(TARGET[:, :2], memory, VALID, state)
    rest = [network.decode(TARGET[:, i : i + 1], memory, VALID, state) for i in (2, 3)]
    torch.testing.assert_close(torch.cat([first, *rest], 1), whole, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_scores_of_beams_are_teacher_forced(network):
    found = generate(network, SOURCE, VALID, SearchOptions(beam=3, max_length=7, n_best=3))
    for row, hypotheses in enumerate(found):
        source = SOURCE[row : row + 1, : int(VALID[row].sum())]
        assert len(hypotheses) == 3
        for h in hypotheses:
            ids = [*h.ids, 2] if h.ended else h.ids
            logp = network(source, torch.tensor([[1, *ids[:-1]]]))[0].log_softmax(-1)
            assert h.logprob == pytest.approx(logp[range(len(ids)), ids].sum().item(), abs=1e-4)


def test_backward_reaches_every_parameter(network):
    network(SOURCE, TARGET, VALID).square().sum().backward()
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_later_tokens_are_not_seen(network):
    changed = TARGET.clone()
    changed[:, 2:] = 8
    with torch.no_grad():
        before, after = network(SOURCE, TARGET, VALID), network(SOURCE, changed, VALID)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])


@torch.no_grad()
def test_weights_are_told_to_who_listens(network):
    plain = network(SOURCE, TARGET, VALID)
    if any("cross" in name for name, _ in network.named_modules()):
        with record(network, "decoder.*cross.*weights") as heard:
            told = network(SOURCE, TARGET, VALID)
        (weights,) = heard.values()
        assert weights.shape == (3, 1, 4, 5)
        assert (weights[1, :, :, 2:] == 0).all()
        torch.testing.assert_close(told, plain)


# ---- gradients made once for all steps -----------------------------------------------------------


@pytest.fixture
def step_by_step(monkeypatch):
    """Turns on plain calls of every layer at every step, with what autograd makes of them."""

    def turn_on():
        for module in (recurrent, alignment, readout):
            monkeypatch.setattr(module, "is_recorded", lambda: False)

    return turn_on


def learned(network, *, narrow=False):
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        out = network(SOURCE, TARGET, VALID).float()
    (out.log_softmax(-1)[..., 3] * (TARGET != 0)).sum().backward()
    return [out.detach(), *(p.grad for p in network.parameters())]


def test_gradients_are_those_of_every_step_by_itself(network, step_by_step):
    ours = learned(network)
    step_by_step()
    for got, wanted in zip(ours, learned(network), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_they_are_as_near_to_float32s(network, step_by_step):
    exact = learned(network)
    ours = learned(network, narrow=True)
    step_by_step()
    theirs = learned(network, narrow=True)

    def away(found):
        pairs = zip(found, exact, strict=True)
        return sum((a.float() - b).square().sum() for a, b in pairs).sqrt()

    assert away(ours) < 1.5 * away(theirs)


def test_frozen_parts_get_no_gradient_and_others_the_same(network, step_by_step):
    for i, p in enumerate(network.parameters()):
        p.requires_grad_(i % 2 == 0)
    ours = learned(network)
    step_by_step()
    for got, wanted in zip(ours, learned(network), strict=True):
        assert (got is None) == (wanted is None)
        if got is not None:
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_who_listens_hears_every_step_in_training_too():
    network, heard = made(**VARIANTS["luong"]), []
    for part in ("cells.0.recall", "cells.1", "cross.score", "readout.inner"):
        layer = network.decoder.get_submodule(part)
        layer.register_forward_hook(lambda *given, part=part: heard.append(part))
    learned(network)
    assert {part: heard.count(part) for part in heard} == dict.fromkeys(heard, TARGET.shape[1])
    assert len(set(heard)) == 4


# ---- the papers' equations, in loops over one text -----------------------------------------------


def step(cell, x, states, context):
    """PyTorch's own cell with our weights."""
    kind = nn.GRUCell if cell.n_states == 1 else nn.LSTMCell
    reads = [cell.read.weight] if cell.attend is None else [cell.read.weight, cell.attend.weight]
    theirs = kind(sum(w.shape[1] for w in reads), cell.d_model)
    theirs.weight_ih.copy_(torch.cat(reads, 1))
    theirs.bias_ih.copy_(cell.read.bias)
    theirs.weight_hh.copy_(cell.recall.weight)
    theirs.bias_hh.copy_(cell.recall.bias)
    read = x if context is None else torch.cat([x, context])
    out = theirs(read[None], [s[None] for s in states] if len(states) == 2 else states[0][None])
    return tuple(s[0] for s in out) if len(states) == 2 else (out[0],)


@torch.no_grad()
def test_rnnsearch_is_bahdanaus():
    network = made()
    decoder, source, target = network.decoder, SOURCE[:1], TARGET[0]
    theirs = nn.GRU(D, D, batch_first=True, bidirectional=True)
    encoder = network.encoder
    for name, p in encoder.forward_layers[0].named_parameters():
        theirs.get_parameter(name).copy_(p)
    for name, p in encoder.backward_layers[0].named_parameters():
        theirs.get_parameter(f"{name}_reverse").copy_(p)
    h = theirs(network.source_embed(source))[0][0]  # k 2d
    s = torch.tanh(decoder.begin.out(h[0, D:]))  # from the backward state of the first token
    score, logits = decoder.cross.score, []
    for y in network.target_embed(target[None])[0]:
        energies = [
            score.energy.weight[0] @ torch.tanh(score.query.weight @ s + score.key.weight @ h_j)
            for h_j in h
        ]
        weights = torch.stack(energies).softmax(0)
        c = sum(weight * h_j for weight, h_j in zip(weights, h, strict=True))
        t = decoder.readout.inner(torch.cat([s, y, c]))
        half = len(t) // 2
        pairs = [torch.maximum(t[i], t[half + i]) for i in range(half)]
        logits.append(network.head.weight @ torch.stack(pairs))
        (s,) = step(decoder.cell, y, (s,), c)
    found = network(source, target[None])[0]
    torch.testing.assert_close(found, torch.stack(logits), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_input_feeding_is_luongs():
    network = made(**VARIANTS["luong"])
    decoder, source, target = network.decoder, SOURCE[:1], TARGET[0]
    h = network.encode(source)[0]
    first = torch.tanh(decoder.begin.out(h[-1])).chunk(4)
    states, said, logits = [tuple(first[:2]), tuple(first[2:])], torch.zeros(D), []
    for y in network.target_embed(target[None])[0]:
        states[0] = step(decoder.cells[0], y, states[0], said)
        states[1] = step(decoder.cells[1], states[0][0], states[1], None)
        top = states[1][0]
        weights = (h @ (decoder.cross.score.weight.weight @ top)).softmax(0)
        said = torch.tanh(decoder.readout.inner(torch.cat([weights @ h, top])))
        logits.append(network.head.weight @ said)
    found = network(source, target[None])[0]
    torch.testing.assert_close(found, torch.stack(logits), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_without_feeding_only_the_feeding_is_missing():
    keys = {"attention": "luong", "cell": "gru"}
    fed, plain = made(**keys), made(**keys, input_feeding=False)
    cell = fed.decoder.cells[0]
    cell.attend.weight.zero_()
    layers = plain.decoder.layers
    for ours, theirs in (
        (layers.weight_ih_l0, cell.read.weight),
        (layers.bias_ih_l0, cell.read.bias),
        (layers.weight_hh_l0, cell.recall.weight),
        (layers.bias_hh_l0, cell.recall.bias),
    ):
        ours.copy_(theirs)
    shared = {k: v for k, v in fed.state_dict().items() if "cells" not in k}
    plain.load_state_dict(shared, strict=False)
    torch.testing.assert_close(
        fed(SOURCE, TARGET, VALID), plain(SOURCE, TARGET, VALID), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_the_vector_is_read_at_every_step_as_chos():
    network = made(attention="none")
    decoder, source, target = network.decoder, SOURCE[:1], TARGET[0]
    outputs, _ = network.encoder.encoder.forward_layers[0](network.source_embed(source))
    c = torch.tanh(network.encoder.vector(outputs[0, -1]))
    theirs = nn.GRUCell(2 * D, D)
    theirs.load_state_dict(
        {name.removesuffix("_l0"): p for name, p in decoder.layers.state_dict().items()}
    )
    h, logits = torch.tanh(decoder.begin.out(c)), []
    for y in network.target_embed(target[None])[0]:
        h = theirs(torch.cat([y, c])[None], h[None])[0]
        said = decoder.readout.inner(torch.cat([h, y, c])).view(2, -1).amax(0)
        logits.append(network.head.weight @ said)
    found = network(source, target[None])[0]
    torch.testing.assert_close(found, torch.stack(logits), rtol=1e-4, atol=1e-5)


def lstm_step(layers, layer, x, h, c):
    """Hochreiter & Schmidhuber 1997 with a forget gate, written out; gates in PyTorch's order."""
    read = getattr(layers, f"weight_ih_l{layer}") @ x + getattr(layers, f"bias_ih_l{layer}")
    recalled = getattr(layers, f"weight_hh_l{layer}") @ h + getattr(layers, f"bias_hh_l{layer}")
    i, f, g, o = (read + recalled).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@torch.no_grad()
@pytest.mark.parametrize("backwards", [True, False])
def test_the_states_of_a_source_read_backwards_begin_the_decoder_as_sutskevers(backwards):
    """Sutskever et al. 2014, sections 2 and 3.3: of each layer, and of rows with padding too."""
    keys = {"attention": "none", "vector": "start", "cell": "lstm", "n_layers": 2}
    network = made(**keys, backwards=backwards)
    for layers in (network.encoder.layers, network.decoder.layers):
        for name, p in layers.named_parameters():
            if "bias" in name:
                nn.init.normal_(p)
    found = network(SOURCE, TARGET, VALID)
    for row, length in enumerate(VALID.sum(1).tolist()):
        read = network.source_embed(SOURCE[row : row + 1, :length])[0]
        states = [(torch.zeros(D), torch.zeros(D)) for _ in range(2)]
        for x in reversed(read) if backwards else read:
            for layer in range(2):
                states[layer] = lstm_step(network.encoder.layers, layer, x, *states[layer])
                x = states[layer][0]
        logits = []
        for y in network.target_embed(TARGET[row : row + 1])[0]:
            for layer in range(2):
                states[layer] = lstm_step(network.decoder.layers, layer, y, *states[layer])
                y = states[layer][0]
            logits.append(network.head.weight @ y)
        torch.testing.assert_close(found[row], torch.stack(logits), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"n_layers": 2}, "RNNsearch, which has one layer, not 2; use attention = 'luong'"),
        ({"score": "dot"}, "score 'dot' needs queries and keys of one width"),
        ({"attention": "none", "score": "dot"}, "need attention = 'bahdanau' or 'luong'"),
        ({"local": "predictive"}, "local attention is luong's"),
        ({"backwards": True}, "backwards needs attention = 'none' and vector = 'start'"),
        (
            {"d_embedding": 4, "attention": "luong", "tied": "output"},
            "has width 8, the embedding 4",
        ),
        ({"tied": "all", "source_vocab_size": 5}, "tied = 'all' needs one vocabulary"),
        ({"input_feeding": False}, "input_feeding does nothing without attention = 'luong'"),
        ({"attention": "luong", "reach": 3}, "reach does nothing without local = 'monotonic' or"),
        ({"attention": "luong", "vector": "start"}, "vector does nothing without attention = 'n"),
        ({"vector": "start"}, "vector does nothing without attention = 'none'; leave it out"),
        ({"cell": "elman"}, "unknown value 'elman'; known: gru, lstm"),
    ],
)
def test_what_does_not_go_together_is_refused(keys, told):
    with pytest.raises(ValueError, match=told):
        build("rnn_seq2seq", vocab_size=V, d_model=D, **keys)


@pytest.mark.parametrize("keys", VARIANTS.values(), ids=VARIANTS)
def test_a_configuration_with_every_key_written_is_one(keys):
    config = configure("rnn_seq2seq", vocab_size=V, **keys)
    assert configure("rnn_seq2seq", **config.model_dump()) == config


def test_one_matrix_where_they_are_tied():
    network = made(tied="all")
    assert network.head.weight is network.target_embed.table.weight
    assert network.source_embed.table is network.target_embed.table
    assert made(tied="output", source_vocab_size=5).source_embed.table.num_embeddings == 5
