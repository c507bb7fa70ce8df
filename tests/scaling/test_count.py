"""Counts against PyTorch's own counter on the real network, and against the paper's numbers."""

from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sublayer.models.base import build
from sublayer.scaling import count

SOURCE, TARGET = 7, 5
SMALL = {"vocab_size": 23, "d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 24, "max_length": 12}
DESIGNS = {
    "paper": {},
    "pre-norm, learned": {
        "norm": "pre",
        "position": "learned",
        "tied": "none",
        "source_vocab_size": 31,
    },
    "grouped queries": {"n_kv_heads": 2, "d_head": 6, "n_decoder_layers": 1},
} | {score: {"score": score} for score in ("dot", "general", "additive", "content", "location")}


@pytest.fixture(params=DESIGNS, ids=str)
def make(request):
    # with attention dropout attention is written out in training, in products that PyTorch counts
    return partial(build, "transformer", attention_dropout=0.1, **(SMALL | DESIGNS[request.param]))


def counted(network, backward):
    source, target = torch.randint(4, 20, (1, SOURCE)), torch.randint(4, 20, (1, TARGET))
    with FlopCounterMode(display=False) as counter:
        logits = network.train()(source, target)
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


def test_forward_and_backward_equal_pytorchs_counter(make):
    cost = count(make, SOURCE, TARGET)
    assert cost.forward * TARGET == counted(make(), backward=False)
    # the location score never looks at the keys it projects: no gradient there
    if make.keywords.get("score") != "location":
        assert cost.training * TARGET == counted(make(), backward=True)


def test_parameters_are_counted_once(make):
    network = make()
    cost = count(make, SOURCE, TARGET)
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())
    used = sum(
        parameter.numel() for _, parameter in network.named_parameters(remove_duplicate=False)
    )
    assert sum(part.parameters + part.shared for part in cost.parts) == used


def test_the_papers_base_model_by_part():
    cost = count(partial(build, "transformer", "base", vocab_size=37_000), 30, 30)
    parameters = {part.name: part.parameters for part in cost.parts}
    attention, feedforward, norm = 4 * (512 * 512 + 512), 2 * 512 * 2048 + 2048 + 512, 2 * 512
    assert parameters == {
        "source embedding": 37_000 * 512,
        "target embedding": 0,
        "encoder self-attention": 6 * attention,
        "encoder feed-forward": 6 * feedforward,
        "encoder norms": 12 * norm,
        "decoder self-attention": 6 * attention,
        "decoder cross-attention": 6 * attention,
        "decoder feed-forward": 6 * feedforward,
        "decoder norms": 18 * norm,
        "head": 0,
    }
    assert 63e6 < cost.parameters < 65e6


def test_flops_follow_the_formula_of_2_n_and_attention():
    n, m = 30, 512
    cost = count(partial(build, "transformer", "base", vocab_size=37_000), n, n)
    flops = {part.name: part.flops for part in cost.parts}
    assert flops["head"] == 2 * n * m * 37_000
    assert flops["encoder feed-forward"] == 6 * 2 * n * 2 * m * 2048
    assert flops["decoder cross-attention"] == 6 * (2 * n * 4 * m * m + 4 * n * n * m)


def test_shared_weights_are_named():
    tied, untied = (
        count(partial(build, "transformer", tied=tied, **SMALL), 3, 3).parts
        for tied in ("all", "none")
    )
    sharing = {
        part.name: (part.parameters, part.shared, part.shared_with) for part in tied if part.shared
    }
    size = 23 * 16
    assert sharing == {
        "target embedding": (0, size, "source embedding"),
        "head": (0, size, "source embedding"),
    }
    assert not any(part.shared for part in untied)
    assert [part.parameters for part in untied if part.name in sharing] == [size, size]


def test_positions_that_are_learned_are_a_part():
    cost = count(partial(build, "transformer", position="learned", **SMALL), 3, 3)
    assert {part.name: part.parameters for part in cost.parts}["encoder positions"] == 12 * 16


CONVOLUTIONS = {
    "wavenet": {"vocab_size": 23, "d_model": 8, "d_skip": 12, "n_layers": 3, "n_stacks": 2},
    "textcnn": {"vocab_size": 23, "d_model": 8, "n_filters": 5, "widths": [2, 3]},
}


@pytest.mark.parametrize("family", CONVOLUTIONS)
def test_convolutions_are_counted(family):
    make = partial(build, family, **CONVOLUTIONS[family])
    with FlopCounterMode(display=False) as counter:
        make().train()(torch.randint(4, 20, (1, SOURCE))).sum().backward()
    cost = count(make, SOURCE)
    assert cost.training * SOURCE == counter.get_total_flops()


def test_convolutions_by_their_formula():
    n, m, s, layers = 10, 8, 12, 6
    cost = count(partial(build, "wavenet", **CONVOLUTIONS["wavenet"]), n)
    parts = {part.name: (part.parameters, part.flops) for part in cost.parts}
    assert parts["stack convolutions"] == (
        2 * m * m + m + layers * (2 * m * 2 * m + 2 * m),
        2 * n * (2 * m * m + layers * 2 * m * 2 * m),
    )
    assert parts["stack residuals and skips"][1] == 2 * n * ((layers - 1) * m * m + layers * m * s)
    cost = count(partial(build, "textcnn", **CONVOLUTIONS["textcnn"]), n)
    parts = {part.name: part.flops for part in cost.parts}
    assert parts["stack convolutions"] == 2 * n * (2 + 3) * m * 5


@pytest.mark.parametrize("feeding", [True, False])
def test_recurrences_and_their_attention_are_counted(feeding):
    d, v, source, target = 8, 30, 5, 3
    keys = {"attention": "luong", "score": "dot", "input_feeding": feeding}
    found = count(partial(build, "rnn_seq2seq", vocab_size=v, d_model=d, **keys), source, target)
    gru = 3 * 2 * d * d
    encoder = 2 * source * gru
    begin = 2 * d * d
    fed = 3 * d * d if feeding else 0
    step = gru + fed + 2 * d * source + 2 * d * d + d * v  # recurrence, scores and mixture, said
    assert found.forward * target == encoder + begin + 2 * target * step
    assert found.parameters == sum(
        p.numel() for p in build("rnn_seq2seq", vocab_size=v, d_model=d, **keys).parameters()
    )
    assert {"encoder recurrences", "decoder recurrences", "decoder attention"} <= {
        part.name for part in found.parts
    }
