"""Estimates against the bytes that real steps and real decoding hold."""

import weakref
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sublayer.layers.state import State
from sublayer.models.base import build
from sublayer.objectives.losses import smoothed_cross_entropy
from sublayer.scaling import decoding_memory, training_memory

FACTOR = 1.2
"""How far the estimate of a training step may be from the peak, in either direction."""


class Peak(TorchDispatchMode):
    """The most bytes of tensors alive at once, by the storages that operations make and drop."""

    def __init__(self, *tensors):
        super().__init__()
        self.alive, self.peak, self.known = 0, 0, {}
        for tensor in tensors:
            self.watch(tensor)

    def watch(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            size = storage.nbytes()
            self.known[storage._cdata] = weakref.finalize(storage, self.drop, storage._cdata, size)
            self.alive += size
            self.peak = max(self.peak, self.alive)

    def drop(self, key, size):
        del self.known[key]
        self.alive -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.watch(leaf)
        return out


def measured(network, rows, source, target, bfloat16):
    """The peak of the second step, when Adam's moments exist."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0, fused=True)
    source_ids, target_ids = (torch.randint(4, 20, (rows, n)) for n in (source, target))

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            hidden = network.hidden(source_ids, target_ids).flatten(0, 1)
            loss, _ = smoothed_cross_entropy(hidden, network.head.weight, target_ids.flatten(), 0.1)
        loss.backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    moments = [tensor for state in optimizer.state.values() for tensor in state.values()]
    with Peak(*network.parameters(), *network.buffers(), *moments) as peak:
        step()
    return peak.peak


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    "shape",
    [
        {"rows": 16, "source": 40, "target": 30, "vocab_size": 500},
        {"rows": 4, "source": 10, "target": 10, "vocab_size": 4000},
        {"rows": 32, "source": 60, "target": 60, "vocab_size": 100, "attention_dropout": 0.1},
    ],
    ids=["balanced", "mostly weights", "mostly activations"],
)
def test_training_estimate_is_near_the_peak(shape, bfloat16):
    keys = dict(shape)
    batch = {name: keys.pop(name) for name in ("rows", "source", "target")}
    make = partial(build, "transformer", d_model=64, n_layers=2, n_heads=4, d_ff=256, **keys)
    rows, source, target = batch.values()
    estimate = training_memory(make, (rows, source), (rows, target), bfloat16=bfloat16)
    peak = measured(make().train(), **batch, bfloat16=bfloat16)
    assert peak / FACTOR < estimate.total < peak * FACTOR


def test_weights_gradients_and_moments_are_four_times_the_parameters():
    make = partial(build, "transformer", "tiny", vocab_size=100)
    size = 4 * sum(parameter.numel() for parameter in make().parameters())
    estimate = training_memory(make, (2, 5), (2, 5), bfloat16=False)
    assert (estimate.weights, estimate.gradients, estimate.moments) == (size, size, 2 * size)
    assert estimate.total == 4 * size + estimate.activations + estimate.loss


def test_activations_grow_with_the_batch_and_halve_with_bfloat16():
    make = partial(build, "transformer", "tiny", vocab_size=100)
    one, two = (
        training_memory(make, (rows, 50), (rows, 50), bfloat16=False).activations
        for rows in (64, 128)
    )
    half = training_memory(make, (128, 50), (128, 50), bfloat16=True).activations
    assert two == pytest.approx(2 * one, rel=0.01)
    assert 0.4 < half / two < 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "keys", [{}, {"n_kv_heads": 1, "d_head": 6}], ids=["multi-head", "multi-query"]
)
def test_decoding_estimate_equals_what_the_state_holds(keys, dtype):
    rows, source, target = 3, 6, 4
    network = (
        build("transformer", vocab_size=50, d_model=16, n_layers=2, n_heads=4, d_ff=32, **keys)
        .to(dtype)
        .eval()
    )
    held = {"append": {}, "once": {}}

    class Watched(State):
        def append(self, owner, k, v):
            held["append"][owner] = super().append(owner, k, v)
            return held["append"][owner]

        def once(self, owner, make):
            held["once"][owner] = super().once(owner, make)
            return held["once"][owner]

    state = Watched()
    memory = network.encode(torch.randint(4, 50, (rows, source)))
    for _ in range(target):
        network.decode(torch.randint(4, 50, (rows, 1)), memory, state=state)
    size = {
        kind: sum(
            tensor.numel() * tensor.element_size() for pair in pairs.values() for tensor in pair
        )
        for kind, pairs in held.items()
    }
    estimate = decoding_memory(network, dtype)
    assert size == {
        "append": rows * target * estimate.per_target_token,
        "once": rows * source * estimate.per_source_token,
    }
    weights = sum(
        parameter.numel() * parameter.element_size() for parameter in network.parameters()
    )
    assert estimate.total(rows, source, target) == weights + sum(size.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_what_is_carried_equals_what_the_state_carries(dtype):
    keys = {"vocab_size": 20, "d_model": 8, "n_layers": 4, "n_stacks": 2, "kernel": 3}
    network = build("wavenet", **keys).to(dtype).eval()
    held = []
    for length in (1, 50):
        state = State()
        network(torch.randint(20, (3, length)), state=state)
        carried = [t for module in network.modules() for t in state.carried(module) or ()]
        held.append(sum(t.numel() * t.element_size() for t in carried))
    estimate = decoding_memory(network, dtype)
    assert held == [3 * estimate.carried] * 2
    assert estimate.per_target_token == estimate.per_source_token == 0
    assert estimate.total(3, 0, 1000) == estimate.weights + held[0]


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
def test_training_estimate_of_convolutions_is_near_the_peak(bfloat16):
    make = partial(build, "wavenet", vocab_size=100, d_model=32, n_layers=5, n_stacks=2)
    network, ids = make().train(), torch.randint(100, (16, 60))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            hidden = network.hidden(ids).flatten(0, 1)
            loss, _ = smoothed_cross_entropy(hidden, network.head.weight, ids.flatten(), 0.0)
        loss.backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    moments = [tensor for state in optimizer.state.values() for tensor in state.values()]
    with Peak(*network.parameters(), *moments) as peak:
        step()
    estimate = training_memory(make, (16, 60), bfloat16=bfloat16)
    assert peak.peak / FACTOR < estimate.total < peak.peak * FACTOR
