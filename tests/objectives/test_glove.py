from __future__ import annotations

import math

import pytest
import torch

import sublayer
from sublayer.data.cooccurrence import Counted
from sublayer.objectives.glove import Glove


def batch_of(n: int = 30) -> Counted:
    counts = torch.rand(n) * 20
    return Counted(torch.randint(9, (n,)), torch.randint(9, (n,)), counts)


def network_of():
    network = sublayer.build("glove", vocab_size=9, d_model=5)
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    return network


@torch.no_grad()
def test_equals_its_formula_in_loops():
    """Pennington et al. 2014, eq. 8 and 9."""
    network, batch = network_of(), batch_of()
    w, c = network.input.table.weight, network.output.weight
    expected = 0.0
    for i, j, x in zip(batch.words, batch.around, batch.counts.tolist(), strict=True):
        weight = (x / 10) ** 0.75 if x < 10 else 1
        product = float(w[i] @ c[j] + network.input_bias[i] + network.output_bias[j])
        expected += weight * (product - math.log(x)) ** 2
    loss = Glove(10.0, 0.75)(network, batch)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert float(loss.parts["nll"]) == pytest.approx(expected / 2, rel=1e-5)
    assert loss.tokens == 30
    assert torch.equal(network.table, w + c)


def test_gradients_are_those_of_the_values():
    network, batch = network_of().double(), batch_of()
    batch = Counted(batch.words, batch.around, batch.counts.double())
    names, weights = zip(*network.named_parameters(), strict=True)

    class Told(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self):
            return Glove(10.0, 0.75)(self.network, batch).total

    def loss(*values):
        own = {f"network.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Told(), own)

    assert torch.autograd.gradcheck(loss, weights)
    assert {name.rpartition(".")[0] or name for name in names} == {
        "input.table",
        "output",
        "input_bias",
        "output_bias",
    }
