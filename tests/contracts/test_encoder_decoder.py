"""What every two-part model keeps to, whatever parts it is built from."""

from __future__ import annotations

import pytest
import torch

from sublayer.layers.state import State
from sublayer.models.base import build

V, SOURCE_V, M, MAX = 11, 9, 8, 12
TINY = {
    "vocab_size": V,
    "d_model": M,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 16,
    "max_length": MAX,
    "dropout": 0.0,
}
PARTS = ["norm", "position", "score", "tied", "activation", "n_kv_heads"]
SELECTION = [  # every value of every part, and most pairs
    ("post", "sinusoidal", "scaled_dot", "all", "relu", 4),
    ("pre", "learned", "scaled_dot", "output", "gelu", 2),
    ("pre", "sinusoidal", "dot", "none", "relu", 1),
    ("post", "learned", "dot", "all", "gelu", 4),
    ("post", "sinusoidal", "general", "output", "gelu", 1),
    ("pre", "learned", "general", "all", "relu", 2),
    ("pre", "sinusoidal", "additive", "all", "gelu", 4),
    ("post", "learned", "additive", "none", "relu", 2),
    ("post", "sinusoidal", "content", "none", "gelu", 2),
    ("pre", "learned", "content", "output", "relu", 1),
    ("pre", "sinusoidal", "location", "output", "relu", 4),
    ("post", "learned", "location", "none", "gelu", 1),
]

SOURCE = torch.tensor([[5, 6, 7, 8, 2], [4, 3, 2, 0, 0], [3, 8, 8, 2, 0]])
TARGET = torch.tensor([[1, 4, 5, 6, 10, 3], [1, 7, 8, 9, 0, 0], [1, 9, 9, 0, 0, 0]])
VALID = SOURCE != 0


@pytest.fixture(params=SELECTION, ids=lambda parts: "-".join(map(str, parts)))
def parts(request):
    return dict(zip(PARTS, request.param, strict=True))


@pytest.fixture
def network(parts):
    source = {} if parts["tied"] == "all" else {"source_vocab_size": SOURCE_V}
    return build("transformer", **TINY, **parts, **source)


def listen(module):
    """The outputs of a module as it runs, which keep their gradients."""
    heard = []
    module.register_forward_hook(
        lambda module, given, out: out.retain_grad() or heard.append(out) or None
    )
    return heard


def test_logits_are_b_q_v(network):
    assert network(SOURCE, TARGET, VALID).shape == (3, 6, V)
    assert network(SOURCE[:1], TARGET[:1, :1]).shape == (1, 1, V)


def test_backward_reaches_every_parameter(network, parts):
    network(SOURCE, TARGET, VALID).square().sum().backward()
    # a location score never looks at the keys
    reached = {
        name: p.grad
        for name, p in network.named_parameters()
        if parts["score"] != "location" or ".layer.k." not in name
    }
    # what a product adds to the scores of all keys alike, no softmax sees
    unseen = parts["score"] in {"dot", "scaled_dot", "general"}
    assert [
        name
        for name, gradient in reached.items()
        if gradient is None or not (gradient.any() or (unseen and name.endswith(".layer.k.bias")))
    ] == []


@pytest.mark.parametrize("steps", [[1] * 6, [3, 1, 2]], ids=["one by one", "in pieces"])
def test_cached_equals_uncached(network, steps):
    memory, state = network.encode(SOURCE, VALID), State()
    cached = [network.decode(new, memory, VALID, state) for new in TARGET.split(steps, 1)]
    torch.testing.assert_close(
        torch.cat(cached, 1), network(SOURCE, TARGET, VALID), atol=1e-5, rtol=1e-5
    )


def test_cached_rows_follow_their_new_order(network):
    memory, state, order = network.encode(SOURCE, VALID), State(), torch.tensor([2, 0, 0, 1])
    network.decode(TARGET[:, :4], memory, VALID, state)
    state.reorder(order)
    cached = network.decode(TARGET[order, 4:], memory[order], VALID[order], state)
    whole = network(SOURCE, TARGET, VALID)[order, 4:]
    torch.testing.assert_close(cached, whole, atol=1e-5, rtol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(network):
    together = network(SOURCE, TARGET, VALID)
    for row, length in enumerate(VALID.sum(1).tolist()):
        alone = network(SOURCE[row : row + 1, :length], TARGET[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_no_position_learns_from_a_later_one(network):
    embedded = listen(network.target_embed)
    logits = network(SOURCE, TARGET, VALID)
    for i in range(TARGET.shape[1]):
        embedded[0].grad = None
        logits[:, i].square().sum().backward(retain_graph=True)
        influence = embedded[0].grad.abs().sum((0, 2))
        assert influence[: i + 1].all()
        assert not influence[i + 1 :].any()


def test_padding_has_no_influence(network):
    embedded = listen(network.source_embed)
    network(SOURCE, TARGET, VALID).square().sum().backward()
    assert torch.equal(embedded[0].grad.abs().sum(-1) > 0, VALID)


def test_evaluating_is_repeatable_and_training_drops_out(parts):
    network = build("transformer", **TINY | {"dropout": 0.5, "attention_dropout": 0.2}, **parts)
    assert not torch.equal(network(SOURCE, TARGET, VALID), network(SOURCE, TARGET, VALID))
    network.eval()
    assert torch.equal(network(SOURCE, TARGET, VALID), network(SOURCE, TARGET, VALID))


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_sizes_run(size):
    assert build("transformer", size, vocab_size=V)(SOURCE, TARGET, VALID).shape == (3, 6, V)
