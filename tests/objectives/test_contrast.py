"""Vectors near for what belongs together: InfoNCE against a loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.data.batch import Labelled, Pairs
from sublayer.models.base import build
from sublayer.objectives.contrast import Contrast, pooled

TEMPERATURE = 0.1


class Given(nn.Module):
    """A model whose output is given, by the first id of a row."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.states = hidden

    def hidden(self, ids, valid=None):
        return self.states[ids[:, 0]]


def side(rows: list[int], n: int = 3, valid: torch.Tensor | None = None) -> Labelled:
    ids = torch.tensor(rows).unsqueeze(1).expand(-1, n)
    return Labelled(ids, valid, None, torch.empty(0), len(rows), ids.numel())


def pairs(n: int, alike: torch.Tensor | None = None) -> Pairs:
    alike = torch.zeros(n, n, dtype=torch.bool) if alike is None else alike
    return Pairs(side([*range(n)]), side([*range(n, 2 * n)]), alike)


def by_hand(model: nn.Module, batch: Pairs) -> float:
    """The mean of both ways, summed over pairs."""
    a, b = (
        [F.normalize(row.mean(0), dim=0) for row in model.hidden(x.inputs)]
        for x in (batch.source, batch.target)
    )
    total = 0.0
    for i in range(len(a)):
        for way in ("forth", "back"):
            scores = []
            for j in range(len(a)):
                others = (i, j) if way == "forth" else (j, i)
                if not batch.alike[others]:
                    one, two = others
                    scores.append(math.exp(float(a[one] @ b[two]) / TEMPERATURE))
            right = math.exp(float(a[i] @ b[i]) / TEMPERATURE)
            total -= math.log(right / sum(scores)) / 2
    return total


@pytest.mark.parametrize("n", [1, 2, 5])
def test_equals_the_formula(n):
    model, batch = Given(torch.randn(2 * n, 3, 8)), pairs(n)
    loss = Contrast(TEMPERATURE, "mean")(model, batch)
    assert loss.total.item() == pytest.approx(by_hand(model, batch), abs=1e-5)
    assert loss.tokens == n
    assert loss.parts["nll"] == loss.total
    a, b = (pooled(model.hidden(x.inputs), None, "mean") for x in (batch.source, batch.target))
    assert loss.parts["accuracy"] == ((a @ b.T).argmax(1) == torch.arange(n)).sum()


def test_what_is_alike_is_no_wrong_answer():
    alike = torch.zeros(4, 4, dtype=torch.bool)
    alike[0, 2] = alike[2, 0] = alike[3, 1] = True
    model, batch = Given(torch.randn(8, 3, 8)), pairs(4, alike)
    loss = Contrast(TEMPERATURE, "mean")(model, batch)
    assert loss.total.item() == pytest.approx(by_hand(model, batch), abs=1e-5)
    assert loss.total < Contrast(TEMPERATURE, "mean")(model, pairs(4)).total


def test_a_batch_of_the_same_pair_costs_nothing():
    alike = ~torch.eye(3, dtype=torch.bool)
    loss = Contrast(TEMPERATURE, "mean")(Given(torch.randn(6, 3, 8)), pairs(3, alike))
    assert loss.total.item() == pytest.approx(0, abs=1e-6)


def test_vectors_are_of_length_one_and_padding_is_no_part_of_them():
    hidden = torch.randn(2, 4, 8)
    valid = torch.tensor([[True] * 4, [True, True, False, False]])
    mean = pooled(hidden, valid, "mean")
    expected = F.normalize(torch.stack([hidden[0].mean(0), hidden[1, :2].mean(0)]), dim=-1)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(pooled(hidden, valid, "first"), F.normalize(hidden[:, 0], dim=-1))
    torch.testing.assert_close(mean.norm(dim=-1), torch.ones(2))


def test_gradients_are_those_of_the_values():
    alike = torch.zeros(3, 3, dtype=torch.bool)
    alike[0, 1] = True

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        return Contrast(0.5, "mean")(Given(hidden), pairs(3, alike)).total

    hidden = torch.randn(6, 2, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(hidden), hidden)
    step = torch.zeros_like(hidden)
    for place in [(0, 0, 0), (2, 1, 3), (5, 0, 1)]:
        step.zero_()
        step[place] = 1e-2
        slope = (loss(hidden + step) - loss(hidden - step)).item() / 2e-2
        assert slope == pytest.approx(gradient[place].item(), abs=1e-3)


def test_products_stay_wide_under_autocast():
    """Cosines over a small temperature: in bfloat16 their differences would be lost."""
    model, batch = Given(torch.randn(8, 3, 8)), pairs(4)
    wide = Contrast(0.01, "mean")(model, batch).total
    with torch.autocast("cpu", torch.bfloat16):
        narrow = Contrast(0.01, "mean")(model, batch).total
    torch.testing.assert_close(narrow, wide)


def test_reaches_both_sides_of_a_network():
    network = build("bert", "tiny", vocab_size=9, head="none", pooler=False).eval()
    embedded = []
    network.embed.register_forward_hook(
        lambda module, given, out: out.retain_grad() or embedded.append(out) or None
    )
    valid = torch.tensor([[True, True, True], [True, True, False]])
    batch = Pairs(side([1, 2], 3, valid), side([3, 4]), torch.zeros(2, 2, dtype=torch.bool))
    Contrast(TEMPERATURE, "mean")(network, batch).total.backward()
    assert torch.equal(embedded[0].grad.abs().sum(-1) > 0, valid)
    assert embedded[1].grad.abs().sum(-1).all()
