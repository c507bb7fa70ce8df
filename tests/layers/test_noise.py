from __future__ import annotations

import itertools
import math

import pytest
import torch

from sublayer.layers.noise import NegativeSampling


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


@torch.no_grad()
def test_the_loss_equals_its_formula_in_loops():
    """Mikolov et al. 2013b, eq. 4, with every drawn word in place of a mean over draws."""
    part = NegativeSampling(9, 4)
    torch.nn.init.normal_(part.words.weight)
    x, near = torch.randn(2, 3, 4), torch.rand(2, 3, 5) < 0.6
    ids = torch.randint(9, (2, 5))
    noise = torch.randint(9, (2, 6))
    noise[0, 0] = ids[0, 1]  # a word is no noise for itself
    near[0, 1, 1] = True
    expected = 0.0
    for g, t, s in itertools.product(range(2), range(3), range(5)):
        if near[g, t, s]:
            expected -= log_sigmoid(float(part.words.weight[ids[g, s]] @ x[g, t]))
            for word in noise[g].tolist():
                if word != ids[g, s]:
                    expected -= 4 / 6 * log_sigmoid(-float(part.words.weight[word] @ x[g, t]))
    assert float(part.loss(x, ids, near, noise, 4)) == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_the_values():
    part = NegativeSampling(9, 4).double()
    torch.nn.init.normal_(part.words.weight)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    near, ids, noise = torch.rand(2, 3, 5) < 0.6, torch.randint(9, (2, 5)), torch.randint(9, (2, 6))

    def loss(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return part.loss(x, ids, near, noise, 4)

    assert torch.autograd.gradcheck(loss, (x, part.words.weight))
