"""Networks in eight bits by loops: as by products, whatever stands beside a row, step by step."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sublayer import loops
from sublayer.generation.decoding import FromPrompt, FromSource
from sublayer.generation.generate import search
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder, build
from sublayer.surgery import pack
from sublayer.surgery.pack import has_loops, packed, ready
from sublayer.surgery.quantize import quantize

pytestmark = pytest.mark.skipif(not has_loops(), reason="no loops here")
if has_loops():
    from sublayer.loops import compiled, sublayer, tables
    from sublayer.loops.product import round_rows
    from sublayer.surgery import looped
    from sublayer.surgery.looped import Apart, Looped, LoopedInt8

WIDE = {"vocab_size": 90, "d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 128}
NETWORKS = {
    "post": ("transformer", WIDE),
    "pre": ("transformer", {**WIDE, "norm": "pre"}),
    "grouped": ("transformer", {**WIDE, "n_heads": 4, "n_kv_heads": 2}),
    "gelu": ("transformer", {**WIDE, "activation": "gelu"}),
    "silu": ("transformer", {**WIDE, "activation": "silu"}),
    "no whole tiles": ("transformer", {**WIDE, "d_model": 48, "d_ff": 80}),
    "rms": ("transformer", {**WIDE, "norm_kind": "rms", "norm": "pre"}),
    "rotary": ("transformer", {**WIDE, "position": "rotary"}),
    "alibi": ("transformer", {**WIDE, "position": "alibi"}),
    "general": ("transformer", {**WIDE, "score": "general"}),
    "gpt": ("gpt", {**WIDE, "max_length": 60}),
    "window": ("gpt", {**WIDE, "max_length": 60, "window": 3}),
    "llama": ("llama", {**WIDE, "n_kv_heads": 2}),
    "t5": ("t5", {**WIDE, "d_head": 16}),
}
SOURCE = torch.tensor([[5, 9, 7, 2, 0, 0], [8, 4, 30, 22, 11, 2], [6, 2, 0, 0, 0, 0]])
PROMPTS = [[5, 9, 7, 3], [8], [4, 30, 22, 11, 6, 17, 9]]


def made(name):
    torch.manual_seed(1)
    family, keys = NETWORKS[name]
    return quantize(build(family, **keys).eval(), "int8")


@pytest.fixture(params=NETWORKS)
def network(request):
    return made(request.param)


def found(network, beam, rows=slice(None), length=12):
    """What a search gives for these rows."""
    options = SearchOptions(beam=beam, n_best=beam, max_length=length, length_penalty=1.0)
    with torch.inference_mode():
        if isinstance(network, EncoderDecoder):
            source = SOURCE[rows]
            valid = source != 0
            decoding = FromSource(network, network.encode(source, valid), valid, 1)
        else:
            decoding = FromPrompt(network, PROMPTS[rows])
        return search(decoding, [length] * len(PROMPTS[rows]), options, Stops((2,), (0, 1)))


def parts(network, kind):
    return [part for part in network.modules() if isinstance(part, kind)]


def roles(stack):
    """Of the sublayers that are one loop, and of those that are none."""
    return [[step.role for step in part.steps] for part in stack.blocks]


def test_sublayers_that_are_known_become_one_loop():
    fast = packed(made("post"), by_loops=True)
    assert roles(fast.encoder) == [["attention", "feedforward"] * 2]
    assert roles(fast.decoder) == [["attention", "cross", "feedforward"] * 2]
    gelu = packed(made("gelu"), by_loops=True).decoder
    assert roles(gelu) == [["attention", "cross"], ["feedforward"]] * 2
    assert [type(part) for part in gelu.blocks] == [Looped, Apart] * 2
    assert not parts(packed(made("no whole tiles"), by_loops=True), Looped)
    assert parts(packed(made("no whole tiles"), by_loops=True), LoopedInt8)
    assert not parts(packed(made("post"), by_loops=False), LoopedInt8)


def test_what_is_between_two_products_is_that_of_pytorch():
    x = torch.linspace(-30, 30, 20_001)
    for act, expected in (
        (tables.NO_ACT, x),
        (tables.SILU, F.silu(x)),
        (tables.GELU_TANH, F.gelu(x, approximate="tanh")),
    ):
        found = x.clone()
        sublayer.activate(found.numpy(), 0, len(x), act)
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
    for name in ("gpt", "silu"):
        fast = packed(made(name), by_loops=True)
        assert not parts(fast, Apart)
        assert parts(fast, Looped)


def test_a_copy_has_arrays_of_its_own():
    fast, ids = packed(made("post"), by_loops=True), SOURCE[:, :4]
    with torch.inference_mode():
        expected = fast(ids, ids)
        twin = copy.deepcopy(fast)
        for part in parts(fast, Looped):
            part.steps[0].known.layer.tiles[:] = 0
        assert torch.equal(twin(ids, ids), expected)
        assert not torch.equal(fast(ids, ids), expected)


def test_it_is_near_the_plain_network(network):
    fast, ids = packed(network, by_loops=True), SOURCE[:, :4]
    with torch.inference_mode():
        inputs = (ids, ids) if isinstance(network, EncoderDecoder) else (ids,)
        expected, logits = network(*inputs), fast(*inputs)
    assert (logits - expected).abs().mean() < 0.05 * expected.std()


@pytest.mark.parametrize("beam", [1, 4])
def test_rows_alone_write_exactly_what_they_write_together(network, beam):
    fast = packed(network, by_loops=True)
    together = found(fast, beam)
    for i, expected in enumerate(together):
        (alone,) = found(fast, beam, slice(i, i + 1))
        assert [h.ids for h in alone] == [h.ids for h in expected]
        assert [h.logprob for h in alone] == pytest.approx([h.logprob for h in expected], abs=1e-5)


@pytest.mark.parametrize("name", ["post", "pre", "grouped", "gpt", "window"])
def test_attention_by_loops_is_that_by_products(name, monkeypatch):
    """A number that lies between two steps may be rounded either way, which is all that differs."""
    fast = packed(made(name), by_loops=True)
    valid = SOURCE != 0

    def written() -> torch.Tensor:
        state = State()
        if isinstance(fast, EncoderDecoder):
            memory = fast.encode(SOURCE, valid)
            return torch.cat([fast.decode(t, memory, valid, state) for t in SOURCE.split(2, 1)], 1)
        return torch.cat([fast(t, state=state) for t in SOURCE.split(2, 1)], 1)

    with torch.inference_mode():
        by_loops = written()
        monkeypatch.setattr(looped, "FEW", 0)
        by_products = written()
    off = (by_loops - by_products).abs()
    assert 0 < off.mean() < 0.01 * by_products.std()


@pytest.mark.parametrize("name", ["post", "pre", "grouped", "gpt", "window", "llama"])
def test_step_by_step_is_all_at_once(name):
    """The log-probabilities of what was written, when it is read in one pass."""
    network = packed(made(name), by_loops=True)
    with torch.inference_mode():
        for row, best in enumerate(found(network, 1)):
            ids, end = best[0].ids, [2] if best[0].ended else []
            if isinstance(network, EncoderDecoder):
                source = SOURCE[row : row + 1][:, SOURCE[row] != 0]
                logits = network(source, torch.tensor([[1, *ids]]))
            else:
                read = torch.tensor([[*PROMPTS[row], *ids]])
                logits = network(read)[:, len(PROMPTS[row]) - 1 :]
            logp = logits[0].log_softmax(-1)
            total = sum(float(logp[i, token]) for i, token in enumerate([*ids, *end]))
            assert total == pytest.approx(best[0].logprob, abs=0.05)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    beam=st.integers(1, 4),
    length=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_ragged_rows_of_any_length_are_as_they_are_alone(lengths, beam, length, seed):
    generator = torch.Generator().manual_seed(seed)
    fast = packed(made("post"), by_loops=True)
    source = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, n in enumerate(lengths):
        source[row, :n] = torch.randint(3, 90, (n,), generator=generator)
    options = SearchOptions(beam=beam, max_length=length)

    def written(ids):
        valid = ids != 0
        with torch.inference_mode():
            decoding = FromSource(fast, fast.encode(ids, valid), valid, 1)
            return search(decoding, [length] * len(ids), options, Stops((2,), (0, 1)))

    together = written(source)
    for row, n in enumerate(lengths):
        (alone,) = written(source[row : row + 1, :n])
        assert alone[0].ids == together[row][0].ids
        assert alone[0].logprob == pytest.approx(together[row][0].logprob, abs=1e-4)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("rows", [1, 3, 12])
def test_threads_that_share_a_stack_compute_what_one_does(norm, rows, monkeypatch):
    wide = {**WIDE, "d_model": 256, "d_ff": 512, "norm": norm}
    torch.manual_seed(1)
    fast = packed(quantize(build("transformer", **wide).eval(), "int8"), by_loops=True)
    source = torch.randint(3, 90, (rows, 7))

    def written(threads):
        torch.set_num_threads(threads)
        state = State()
        with torch.inference_mode():
            memory = fast.encode(source)
            steps = [fast.decode(ids, memory, None, state) for ids in source.split(1, 1)]
        return memory, *steps

    before = torch.get_num_threads()
    shared, taken = sublayer._together, []
    monkeypatch.setattr(sublayer, "_together", lambda *args: taken.append(1) or shared(*args))
    try:
        alone, together = written(1), written(2)
    finally:
        torch.set_num_threads(before)
    assert len(taken) == 1 + 7
    for one, two in zip(alone, together, strict=True):
        # sums of other orders, after which a number may be rounded the other way
        assert (one - two).abs().mean() < 0.01 * one.std()


def test_without_a_state_it_is_as_with_one():
    fast = packed(made("grouped"), by_loops=True)
    with torch.inference_mode():
        memory = fast.encode(SOURCE)
        at_once = fast.decode(SOURCE, memory)
        state = State()
        steps = [fast.decode(ids, memory, None, state) for ids in SOURCE.split(1, 1)]
    torch.testing.assert_close(torch.cat(steps, 1), at_once, atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_is_told_before_addresses_are_read():
    fast, ids = packed(made("post"), by_loops=True), SOURCE[:, :2]
    with torch.inference_mode():
        with pytest.raises(ValueError, match="vectors of 64 numbers, these have 60"):
            fast.decode(ids, torch.randn(3, 5, 60))
        state, one = State(), fast.encode(SOURCE[1:2])
        fast.decode(ids, one, None, state)
        with pytest.raises(ValueError, match="3 rows of 2 tokens, but masks or keys of others"):
            fast.decode(ids, one.expand(3, -1, -1), None, state)
        state, memory = State(), fast.encode(SOURCE)
        fast.decode(ids, memory, None, state)
        with pytest.raises(ValueError, match="a mask of 9 keys, but there are 6"):
            fast.decode(ids, torch.randn(3, 9, 64), torch.ones(3, 9, dtype=torch.bool), state)


def test_packed_again_it_is_the_same():
    fast = packed(made("post"), by_loops=True)
    with torch.inference_mode():
        assert torch.equal(packed(fast, by_loops=True)(SOURCE, SOURCE), fast(SOURCE, SOURCE))


def test_weights_that_are_no_numbers_are_told_in_one_sentence():
    network = made("post")
    network.decoder.blocks[0].feedforward.layer.down.scale.fill_(torch.nan)
    for beam in (1, 4):
        with pytest.raises(ValueError, match="no numbers"):
            found(packed(network, by_loops=True), beam)


def test_without_numba_or_with_few_weights_products_are_those_of_pytorch(monkeypatch):
    assert not parts(packed(made("post")), LoopedInt8)
    monkeypatch.setattr(pack, "WORTH_LOOPS", 1000)
    assert parts(packed(made("post")), LoopedInt8)
    monkeypatch.setattr(pack.loops, "are_here", lambda: False)
    assert not has_loops()
    assert not parts(packed(made("post")), LoopedInt8)


def test_with_many_inputs_few_weights_are_worth_it_too(monkeypatch):
    network = made("post")
    monkeypatch.setattr(pack, "WORTH", 1)
    assert not parts(ready(network, inputs=loops.MANY - 1), LoopedInt8)
    assert parts(ready(network, inputs=loops.MANY), LoopedInt8)
    floats = build("transformer", **WIDE)
    assert not parts(ready(floats, inputs=loops.MANY), LoopedInt8)


def test_numba_that_cannot_be_imported_is_told_and_done_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "sublayer.loops.compiled", None)
    with pytest.warns(UserWarning, match="int8 is slower"):
        assert not has_loops()


def test_loops_that_numba_writes_for_another_processor_are_not_taken(monkeypatch):
    monkeypatch.setattr(compiled.config, "CPU_NAME", "generic")
    assert not has_loops()


def test_one_memory_for_many_rows_and_rows_that_were_not_begun():
    fast, one = packed(made("post"), by_loops=True), SOURCE[1:2]
    with torch.inference_mode():
        ids = SOURCE[:, :3]
        expected = fast.decode(ids, fast.encode(one).expand(3, -1, -1))
        torch.testing.assert_close(fast.decode(ids, fast.encode(one)), expected)
        state = State()
        fast.decode(ids[:1], fast.encode(one), None, state)
        with pytest.raises(ValueError, match="3 rows go on, but 1 were begun"):
            fast.decode(ids, fast.encode(one), None, state)


def test_masks_of_whole_numbers_and_gradients_do_no_harm():
    torch.manual_seed(0)
    network = quantize(build("bert", **WIDE).eval(), "int8")
    fast = packed(network, by_loops=True)
    with torch.inference_mode():
        expected = fast(SOURCE, SOURCE != 0)
        torch.testing.assert_close(fast(SOURCE, SOURCE), expected)
    assert packed(made("gpt"), by_loops=True)(SOURCE).shape == (3, 6, 90)


def test_what_is_kept_of_loops_is_kept_under_the_version_of_all_of_them():
    assert round_rows.py_func.__qualname__ == f"round_rows_{compiled._version()}"
