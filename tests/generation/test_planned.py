"""A planned network is searched as the packed one is, whatever it is asked; without PyTorch."""

from __future__ import annotations

import gc
import threading
import time
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sublayer.generation.generate import generate
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.models.base import build
from sublayer.models.hub import network_tensors
from sublayer.surgery.pack import has_loops, packed
from sublayer.surgery.plan import plan_of
from sublayer.surgery.quantize import quantize
from sublayer.text.special import Special

pytestmark = pytest.mark.skipif(not has_loops(), reason="no loops here")
if has_loops():
    from sublayer.generation import planned as planned_module
    from sublayer.generation.planned import Asked, Planned
    from sublayer.generation.weights import PlannedWeights, sinusoids
    from sublayer.layers.position import Sinusoidal
    from sublayer.loops.kept import kept_search, made_search
    from sublayer.loops.search import SLOTS

WIDE = {"vocab_size": 90, "d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 128}
NETWORKS = {
    "post": ("transformer", WIDE),
    "pre": ("transformer", {**WIDE, "norm": "pre"}),
    "grouped": ("transformer", {**WIDE, "n_kv_heads": 2, "n_decoder_layers": 3}),
    "wide heads": ("transformer", {**WIDE, "n_heads": 2, "d_head": 64, "n_kv_heads": 1}),
    "silu": ("transformer", {**WIDE, "activation": "silu"}),
    "gelu": ("transformer", {**WIDE, "activation": "gelu_tanh", "tied": "none"}),
    "learned": ("transformer", {**WIDE, "position": "learned", "max_length": 40}),
    "two vocabularies": ("transformer", {**WIDE, "source_vocab_size": 70, "tied": "output"}),
    "marian": ("marian", {**WIDE, "max_length": 60}),
}
UNPLANNED = {
    "rotary": ("transformer", {**WIDE, "position": "rotary"}),
    "alibi": ("transformer", {**WIDE, "position": "alibi"}),
    "erf": ("transformer", {**WIDE, "activation": "gelu"}),
    "gated": ("transformer", {**WIDE, "gated": True}),
    "rms": ("transformer", {**WIDE, "norm_kind": "rms"}),
    "sandwich": ("transformer", {**WIDE, "norm": "sandwich"}),
    "general": ("transformer", {**WIDE, "score": "general"}),
    "gpt": ("gpt", {**WIDE, "max_length": 60}),
    "t5": ("t5", {**WIDE, "d_head": 16}),
}
NEAR = 0.25
"""A byte that is rounded the other way, as sums are taken in another order, may change so much."""
STOPS, SPECIAL = Stops((2,), (0, 1)), Special()
SOURCES = [[5, 9, 7, 2], [8, 4, 30, 22, 11, 2], [6, 2], [2], [33, 4, 9, 9, 9, 4, 61, 17, 2]]


def made(name):
    """A network in eight bits whose outputs end now and then."""
    torch.manual_seed(3)
    family, keys = {**NETWORKS, **UNPLANNED}[name]
    network = build(family, **keys).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    return quantize(network, "int8")


def arrays(network):
    return {name: tensor.numpy() for name, tensor in network_tensors(network).items()}


def planned(network):
    plan = plan_of(network)
    assert plan is not None
    return Planned(PlannedWeights(plan, arrays(network)), kept_search() or made_search())


def asked(**keys):
    given = {"beam": 3, "n_best": 1, "length_penalty": 0.6, "patience": None, "max_length": 12}
    return Asked(**{**given, "batch_tokens": 2048, "threads": 1, **keys})


def by_packed(network, sources, how):
    """What the packed network finds, one source at a time."""
    options = SearchOptions(
        how.beam,
        how.length_penalty,
        how.max_length,
        n_best=how.n_best,
        patience=how.patience,
    )
    fast = packed_(network)
    return [generate(fast, torch.tensor([ids]), None, options, SPECIAL)[0] for ids in sources]


def assert_alike(network, sources, how, found):
    """That they are as good as those of the packed network, and worth what they are said to be."""
    for ids, own, row in zip(sources, found, by_packed(network, sources, how), strict=True):
        assert [answer.score for answer in own] == pytest.approx([h.score for h in row], abs=NEAR)
        assert len({tuple(answer.ids) for answer in own}) == len(own)
        for answer in own:
            assert answer.logprob == pytest.approx(forced(network, ids, answer, how), abs=NEAR)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "keys",
    [
        {"beam": 1},
        {"beam": 1, "max_length": 20},
        {"n_best": 3},
        {"beam": 4, "patience": 1.0, "length_penalty": 1.0, "n_best": 2},
        {"beam": 5, "length_penalty": 0.0, "max_length": 30},
        {"max_length": 1, "n_best": 3},
    ],
    ids=str,
)
def test_it_finds_what_the_packed_network_finds(name, keys):
    network, how = made(name), asked(**keys)
    assert_alike(network, SOURCES, how, planned(network).answers(SOURCES, how, 1, STOPS))


@pytest.mark.parametrize("name", NETWORKS)
def test_nearly_all_are_the_same_to_the_token(name):
    rng, how, network = np.random.default_rng(2), asked(max_length=8), made(name)
    sources = [[*rng.integers(3, 70, rng.integers(0, 12)).tolist(), 2] for _ in range(60)]
    found = planned(network).answers(sources, how, 1, STOPS)
    expected = by_packed(network, sources, how)
    same = [own[0].ids == row[0].ids for own, row in zip(found, expected, strict=True)]
    assert sum(same) >= 54


SOURCE = st.lists(st.integers(3, 89), max_size=11).map(lambda ids: [*ids, 2])
HOW = st.fixed_dictionaries(
    {
        "beam": st.integers(1, 6),
        "patience": st.sampled_from([None, 1.0, 1.5]),
        "length_penalty": st.sampled_from([0.0, 0.6, 1.3]),
        "max_length": st.integers(1, 14),
        "batch_tokens": st.integers(1, 60),
        "threads": st.integers(1, 3),
    }
)


@given(sources=st.lists(SOURCE, min_size=1, max_size=9), keys=HOW, data=st.data())
@settings(max_examples=60, deadline=None, phases=(Phase.generate,))
def test_whatever_is_asked(network, sources, keys, data):
    how = asked(**keys, n_best=data.draw(st.integers(1, keys["beam"])))
    assert_alike(network, sources, how, planned(network).answers(sources, how, 1, STOPS))


def forced(network, source, answer, how):
    """ln P of an answer, of which all is given."""
    end = [2] * (len(answer.ids) < how.max_length)
    target = torch.tensor([[1, *answer.ids, *end]])
    with torch.inference_mode():
        logp = packed_(network)(torch.tensor([source]), target[:, :-1]).float().log_softmax(-1)
    return float(logp.gather(2, target[:, 1:].unsqueeze(2)).sum())


@cache
def packed_(network):
    return packed(network, by_loops=True)


@pytest.fixture(scope="module")
def network():
    return made("pre")


def test_no_answer_depends_on_others_or_on_threads(network):
    rng = np.random.default_rng(0)
    sources = [[*rng.integers(3, 90, rng.integers(0, 30)).tolist(), 2] for _ in range(60)]
    model, how = planned(network), asked(beam=4, n_best=2, max_length=25)
    alone = [model.answers([ids], how, 1, STOPS)[0] for ids in sources]
    for threads, tokens in ((1, 2048), (1, 1), (2, 300), (3, 90), (70, 40)):
        how = how._replace(threads=threads, batch_tokens=tokens)
        assert model.answers(sources, how, 1, STOPS) == alone


def test_long_texts_get_more_slots_as_they_go(network):
    rng = np.random.default_rng(1)
    sources = [[*rng.integers(3, 90, n).tolist(), 2] for n in (300, 7, 90)]
    how = asked(beam=8, n_best=8, max_length=120)
    found = planned(network).answers(sources, how, 1, STOPS)
    for ids, row in zip(sources, found, strict=True):
        for answer in row:
            assert answer.logprob == pytest.approx(forced(network, ids, answer, how), rel=0.01)
    assert max(len(answer.ids) for row in found for answer in row) > SLOTS


def test_none_is_asked_for(network):
    assert planned(network).answers([], asked(), 1, STOPS) == []


def test_outputs_may_have_fifty_tokens_more_than_the_source_or_as_many_as_the_model_knows():
    def lengths(name):
        network = made(name)
        network.head.scale *= 0  # all tokens are alike, and the end comes first
        network.head.bias = torch.zeros(90).index_fill(0, torch.tensor([2]), -50)
        how = asked(beam=1, max_length=None)
        return [len(row[0].ids) for row in planned(network).answers(SOURCES, how, 1, STOPS)]

    assert lengths("pre") == [len(ids) + 50 for ids in SOURCES]
    assert lengths("learned") == [40] * len(SOURCES)


def test_progress_is_told_of_and_an_interruption_ends_all_threads(network):
    sources, told = [[5, 9, 7, 2]] * 40, []
    planned(network).answers(sources, asked(threads=2), 1, STOPS, told.append)
    assert sum(told) == 40

    def interrupt(done):
        raise KeyboardInterrupt

    before, start, model = threading.active_count(), time.monotonic(), planned(network)
    how = asked(beam=8, threads=2, max_length=200)
    with pytest.raises(KeyboardInterrupt):
        model.answers([[5, 9, 7, 2]] * 20_000, how, 1, STOPS, interrupt)  # would take minutes
    assert threading.active_count() == before
    assert time.monotonic() - start < 60


def test_interrupted_again_while_threads_end_nothing_they_use_is_freed(network, monkeypatch):
    model, returned, freed = planned(network), [], []
    search = model.search

    def interrupt(*given):
        raise KeyboardInterrupt

    def noted(address, thread):
        search(address, thread)
        returned.append(thread)

    class Watched(planned_module._Job):
        def __del__(self):
            freed.append(len(returned))

    monkeypatch.setattr(planned_module, "_Job", Watched)
    how = asked(beam=8, max_length=200)
    with monkeypatch.context() as patch:
        patch.setattr(model, "search", noted)
        patch.setattr(threading.Thread, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.answers([[5, 9, 7, 2]] * 2000, how, 1, STOPS)
        gc.collect()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    assert freed == [1]


def test_it_goes_on_with_as_many_threads_as_can_be_started(network, monkeypatch):
    begin, started = threading.Thread.start, []

    def start(thread):
        if len(started) == limit:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    limit, how = 1, asked(threads=3)
    found = planned(network).answers(SOURCES * 20, how, 1, STOPS)
    assert [row[0].ids for row in found] != []
    assert len(found) == 100
    limit, started = 0, []
    with pytest.raises(MemoryError, match="no more threads"):
        planned(network).answers(SOURCES, how, 1, STOPS)


def test_a_thread_that_gives_up_ends_all(network):
    calls = []

    def search(address, thread):
        calls.append(thread)

    with pytest.raises(MemoryError, match="batch_tokens"):
        Planned(planned(network).weights, search).answers(SOURCES, asked(threads=2), 1, STOPS)
    assert sorted(calls) == [0, 1]


def test_an_empty_line_makes_no_room_for_as_many_as_it(network):
    """Places are as many as can be written together."""
    sources = [[5, 9, 7, 4, 4, 4, 4, 4, 4, 2]] * 100
    weights = planned(network).weights
    for more, places in (([], 20), ([[2]], 20), ([[2]] * 10, 29), ([[2]] * 300, 200)):
        job = planned_module._Job(
            weights, sources + more, asked(beam=1, batch_tokens=200), 1, STOPS
        )
        assert job.told["n_places"] == places


def test_sinusoids_are_those_of_the_layer():
    for halves in (False, True):
        table = Sinusoidal(50, 12, halves=halves).table
        np.testing.assert_allclose(sinusoids(50, 12, halves=halves), table.numpy(), atol=1e-7)


@pytest.mark.parametrize("name", UNPLANNED)
def test_other_parts_have_no_plan(name):
    assert plan_of(made(name)) is None


def test_floats_and_weights_in_eight_bits_alone_have_no_plan():
    assert plan_of(build("transformer", **WIDE)) is None
    assert plan_of(quantize(build("transformer", **WIDE), "int8-weights")) is None


def test_widths_that_are_no_whole_tiles_are_refused():
    network = quantize(build("transformer", **{**WIDE, "d_model": 48, "d_ff": 80}), "int8")
    with pytest.raises(ValueError, match="not of a shape that fits"):
        planned(network)


def test_tensors_of_other_shapes_are_refused(network):
    """Loops read from addresses, so nothing may be smaller than it is said to be."""
    plan, tensors = plan_of(network), arrays(network)
    for name, array in tensors.items():
        for less in (array[:-1], array[..., :-1]):
            with pytest.raises(ValueError, match="not of a shape that fits"):
                PlannedWeights(plan, {**tensors, name: less})
        if array.dtype == np.int8:
            with pytest.raises(ValueError, match="not of a shape that fits"):
                PlannedWeights(plan, {**tensors, name: array.astype(np.int16)})
        with pytest.raises(ValueError, match="tensors"):
            PlannedWeights(plan, {n: t for n, t in tensors.items() if n != name})
        with pytest.raises(ValueError, match=r"there is no tensor|is no part"):
            PlannedWeights(plan, {f"{n}x" if n == name else n: t for n, t in tensors.items()})


def test_what_is_written_must_be_read_again():
    network = made("gelu")
    network.target_embed.table.weight = network.target_embed.table.weight[:-1]
    network.target_embed.table.scale = network.target_embed.table.scale[:-1]
    with pytest.raises(ValueError, match=r"target_embed\.table' is not of a shape that fits"):
        planned(network)


def test_weights_that_are_no_numbers_are_told_of():
    network = made("pre")
    network.decoder.norm.weight.data[3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        planned(network).answers(SOURCES, asked(), 1, STOPS)


def test_what_the_model_has_no_place_for_is_refused():
    with pytest.raises(ValueError, match="41 positions, but the model learned 40"):
        planned(made("learned")).answers([[5] * 41], asked(), 1, STOPS)
    for ids in ([90, 2], [-1, 2]):
        with pytest.raises(ValueError, match="the model has 90"):
            planned(made("pre")).answers([ids], asked(), 1, STOPS)
