from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import sublayer
from sublayer.data.windows import Windows, grouped
from sublayer.objectives.words import Cbow, SkipGram


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def batch_of(n: int = 20, *, noise: int) -> Windows:
    draw = np.random.default_rng(0)
    ids, widths = draw.integers(0, 12, n), draw.integers(1, 4, n)
    centres, around, near = grouped(ids, np.arange(n) // 7, widths, 3)
    drawn = torch.from_numpy(draw.integers(0, 12, (len(centres), noise)))
    return Windows(centres, around, near, drawn, int(near.sum()), n)


def network_of(output: str):
    network = sublayer.build("word2vec", vocab_size=12, d_model=6, output=output)
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    return network


def told(network, vector, word: int, noise: list[int]) -> float:
    """-log of the probability of a word, by noise or by the tree."""
    if not noise:
        return -float(network.output.log_probabilities(vector.unsqueeze(0))[0, word])
    rows = network.output.words.weight
    others = sum(log_sigmoid(-float(rows[k] @ vector)) for k in noise if k != word)
    return -log_sigmoid(float(rows[word] @ vector)) - 5 / len(noise) * others


@pytest.mark.parametrize(("output", "noise"), [("negative", 8), ("hierarchical", 0)])
@torch.no_grad()
def test_skipgram_tells_the_words_around_from_the_middle_one(output, noise):
    network, batch = network_of(output), batch_of(noise=noise)
    expected = 0.0
    for g, t, s in batch.near.nonzero().tolist():
        vector = network.table[batch.centres[g, t]]
        expected += told(network, vector, int(batch.around[g, s]), batch.noise[g].tolist())
    loss = SkipGram(5)(network, batch)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert loss.tokens == int(batch.near.sum())
    assert torch.equal(loss.parts["nll"], loss.total)


@pytest.mark.parametrize(("output", "noise"), [("negative", 8), ("hierarchical", 0)])
@torch.no_grad()
def test_cbow_tells_the_middle_word_from_the_mean_of_those_around(output, noise):
    network, batch = network_of(output), batch_of(noise=noise)
    expected = 0.0
    for g, t in itertools.product(*map(range, batch.centres.shape)):
        around = batch.around[g][batch.near[g, t]]
        if len(around):
            vector = network.table[around].mean(0)
            expected += told(network, vector, int(batch.centres[g, t]), batch.noise[g].tolist())
    assert float(Cbow(5)(network, batch).total) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [SkipGram, Cbow])
@pytest.mark.parametrize(("output", "noise"), [("negative", 8), ("hierarchical", 0)])
def test_gradients_are_those_of_the_values(kind, output, noise):
    network, batch = network_of(output).double(), batch_of(noise=noise)
    names, weights = zip(*network.named_parameters(), strict=True)

    def loss(*values):
        return torch.func.functional_call(Told(network), dict(zip(own, values, strict=True)))

    class Told(torch.nn.Module):
        def __init__(self, network) -> None:
            super().__init__()
            self.network = network

        def forward(self):
            return kind(5)(self.network, batch).total

    own = [f"network.{name}" for name in names]
    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)


def test_a_batch_without_pairs_costs_nothing():
    centres, around, near = grouped(np.array([3]), np.zeros(1, int), np.ones(1, int), 2)
    batch = Windows(centres, around, near, torch.zeros(1, 4, dtype=torch.long), 1, 1)
    for kind in (SkipGram, Cbow):
        loss = kind(5)(network_of("negative"), batch)
        loss.total.backward()
        assert float(loss.total.detach()) == 0
