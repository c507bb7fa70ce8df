"""Texts of unlike length go on side by side: as alone, as uncached, whatever the positions are."""

from __future__ import annotations

import pytest
import torch

from sublayer.layers.attend import Dense
from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.feedforward import FeedForward
from sublayer.layers.mask import Causal, Window
from sublayer.layers.position import Learned, Sinusoidal
from sublayer.layers.relative import Alibi, Buckets, Shaw
from sublayer.layers.residual import PreNorm
from sublayer.layers.rotary import Rotary, plain
from sublayer.layers.score import ScaledDot
from sublayer.layers.state import State
from sublayer.models.base import build

M, HEADS = 16, 4
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
LENGTHS = [5, 1, 9, 3]  # of the prompts
MORE = 6
SCHEMES = {
    "learned": lambda: Learned(15, M),  # just as many as the longest row takes
    "sinusoidal": lambda: Sinusoidal(4, M),
    "rotary": lambda: Rotary(plain(M // HEADS)),
    "alibi": lambda: Alibi(HEADS),
    "buckets": lambda: Buckets(HEADS, 8, 10, both_ways=False),
    "shaw": lambda: Sinusoidal(4, M),
}
LLAMA = {
    "vocab_size": 20,
    "d_model": M,
    "n_layers": 2,
    "n_heads": HEADS,
    "n_kv_heads": 2,
    "d_ff": 24,
    "max_length": 15,
}
SCALINGS = {
    "linear": {"factor": 2.0, "trained": 8},
    "yarn": {"factor": 2.0, "trained": 8, "strength": 1.1},
    "llama3": {"factor": 2.0, "trained": 8},
    "dynamic": {"factor": 2.0, "trained": 64},
    "longrope": {"short": (1.0, 1.5), "long": (2.0, 3.0), "trained": 64},
}
GPT = {k: LLAMA[k] for k in ("vocab_size", "d_model", "n_layers", "n_heads", "max_length")}
MODELS = {
    "gpt": ("gpt", GPT | {"dropout": 0.0, "attention_dropout": 0.0}),
    "llama": ("llama", LLAMA),
    "llama with a window": ("llama", LLAMA | {"window": 3}),
    **{
        f"llama {kind}": ("llama", LLAMA | {"scaling": {"kind": kind, **keys}})
        for kind, keys in SCALINGS.items()
    },
}


def ragged(width=9):
    return torch.arange(width) < torch.tensor(LENGTHS).unsqueeze(1)


@pytest.fixture(params=MODELS)
def network(request):
    family, keys = MODELS[request.param]
    network = build(family, **keys).eval()
    for weight in network.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.3)
    return network


@pytest.fixture(params=SCHEMES)
def stack(request):
    def block():
        score = Shaw(M // HEADS, 3) if request.param == "shaw" else ScaledDot()
        attention = SelfAttention(M, HEADS, attend=Dense(score))
        return Block(
            PreNorm(attention, torch.nn.LayerNorm(M)),
            PreNorm(FeedForward(M, 24, torch.nn.ReLU()), torch.nn.LayerNorm(M)),
        )

    stack = Stack([block(), block()], SCHEMES[request.param]()).eval()
    for weight in stack.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.3)
    return stack


@pytest.mark.parametrize("mask", [Causal(), Causal() & Window(3)], ids=["causal", "window"])
@torch.no_grad()
def test_every_position_scheme_knows_where_a_row_stands(stack, mask):
    prompts, more = torch.randn(4, 9, M), torch.randn(4, MORE, M)
    state = State()
    out = [stack(prompts, mask, state=state, valid=ragged())]
    out += [stack(more[:, i : i + 1], mask, state=state) for i in range(MORE)]
    for row, n in enumerate(LENGTHS):
        alone = torch.cat([prompts[row, :n], more[row]]).unsqueeze(0)
        cached = torch.cat([out[0][row, :n], *(step[row] for step in out[1:])])
        torch.testing.assert_close(cached, stack(alone, mask)[0], **CLOSE)


@torch.no_grad()
def test_cached_equals_uncached_and_batched_equals_single(network):
    prompts, more, state = torch.randint(20, (4, 9)), torch.randint(20, (4, MORE)), State()
    out = [network(prompts, ragged(), state)]
    torch.testing.assert_close(out[0][ragged()], network(prompts, ragged())[ragged()], **CLOSE)
    out += [network(more[:, i : i + 1], state=state) for i in range(MORE)]
    for row, n in enumerate(LENGTHS):
        alone = torch.cat([prompts[row, :n], more[row]]).unsqueeze(0)
        cached = torch.cat([out[0][row, :n], *(step[row] for step in out[1:])])
        torch.testing.assert_close(cached, network(alone)[0], **CLOSE)


@torch.no_grad()
def test_what_padding_holds_makes_no_difference(network):
    prompts, more = torch.randint(20, (4, 9)), torch.randint(20, (4, 1))
    outputs = []
    for filler in (0, 7):
        state = State()
        network(prompts.masked_fill(~ragged(), filler), ragged(), state)
        outputs.append(network(more, state=state))
    assert torch.equal(*outputs)


@torch.no_grad()
def test_pieces_may_be_ragged_too(network):
    """Padding behind each piece, holes in the first one, rows reordered between."""
    ids = torch.randint(20, (3, 12))
    first = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    second = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    order, state = torch.tensor([2, 0, 1, 0]), State()
    network(ids[:, :5], first, state)
    network(ids[:, 5:8], second, state)
    state.reorder(order)
    last = network(ids[order, 8:], state=state)
    whole = [[0, 1, 2, 3, 5, 6], [0, 5, 6, 7], [0, 1, 2, 3, 4]]
    for at, row in enumerate(order.tolist()):
        places = [*whole[row], 8, 9, 10, 11]
        seen = torch.tensor([place != 2 or row != 0 for place in places]).unsqueeze(0)
        alone = network(ids[row : row + 1, places], seen)
        torch.testing.assert_close(last[at], alone[0, -4:], **CLOSE)


def test_padding_without_a_state_is_the_masks(stack):
    with pytest.raises(AssertionError, match="padding is the mask's"):
        stack(torch.randn(1, 2, M), Causal(), valid=torch.ones(1, 2, dtype=torch.bool))
