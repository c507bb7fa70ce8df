"""WaveNet sees what the paper says, and writes with its rings what it would write without."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sublayer.generation.decoding import FromPrompt
from sublayer.models.base import build

KEYS = {"vocab_size": 20, "d_model": 8, "n_layers": 3, "n_stacks": 2}


def make(**keys):
    torch.manual_seed(2)
    return build("wavenet", **(KEYS | keys)).eval()


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({}, 1 + 1 + 2 * 7),
        ({"kernel": 3}, 1 + 2 * (1 + 2 * 7)),
        ({"n_layers": 10, "n_stacks": 1}, 1 + 1 + 1023),
        ({"n_layers": 1, "n_stacks": 1}, 3),
    ],
    ids=str,
)
def test_a_token_follows_from_the_receptive_field_and_nothing_else(keys, field):
    network = make(**keys).double()
    assert network.stack.receptive_field == field
    seen = torch.zeros(field + 20, dtype=torch.bool)
    place = field + 9
    with torch.no_grad():  # so that no rectifier hides a path
        network.stack.out.bias += 20
        network.stack.blocks[0].skip.bias += 20
    x = network.embed(torch.randint(20, (1, len(seen)))).detach().requires_grad_()
    logits = network.head(network.stack(x))
    (slope,) = torch.autograd.grad(logits[0, place].norm(), x)
    seen[place - field + 1 : place + 1] = True
    assert torch.equal(slope[0].abs().sum(-1) > 0, seen)


@torch.no_grad()
def test_a_text_that_begins_is_read_as_if_nothing_was_before_it():
    network, ids = make(), torch.randint(20, (1, 30))
    torch.testing.assert_close(network(ids[:, :5]), network(ids)[:, :5])


@torch.no_grad()
def test_what_is_kept_does_not_grow():
    network = make()
    decoding = FromPrompt(network, [[3, 4, 5], [6]])
    decoding.start()

    def kept():
        return [
            tensor.numel()
            for layer in network.stack.modules()
            for tensor in decoding.state.carried(layer) or ()
        ]

    before = kept()
    assert sum(before) == 2 * (8 * (1 + 2 * 7) + 7)  # rings, and a count for each of 7 layers
    for _ in range(60):
        decoding.step(torch.tensor([7, 8]))
    assert kept() == before
    assert decoding.state.seen == 0


def test_skipped_width_follows_from_the_models():
    assert make().head.in_features == 16
    assert make(d_skip=5).head.in_features == 5


def test_the_last_layer_has_nothing_that_goes_on():
    last = make().stack.blocks[-1]
    assert last.residual is None
    network = make().train()
    network(torch.randint(20, (2, 12))).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_it_learns_what_lies_within_its_reach():
    """A token is the one eight before it, which no shorter context tells."""
    network = make(n_layers=3, n_stacks=1).train()
    assert network.stack.receptive_field >= 8
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    random = torch.Generator().manual_seed(0)
    for _ in range(400):
        ids = torch.randint(20, (16, 8), generator=random).repeat(1, 4)
        logits = network(ids[:, :-1])[:, 7:]
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 8:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5  # of log 20, which is 3.0
