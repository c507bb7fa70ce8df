"""Words told from either side, against a loop over words."""

from __future__ import annotations

import pytest
import torch

from sublayer.data.batch import Labelled
from sublayer.models.base import build
from sublayer.objectives.bidirectional import Bidirectional

LENGTHS = [5, 2, 4]
VALID = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
LETTERS = torch.randint(4, 60, (3, 5, 6), generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(1, 9, (3, 5), generator=torch.Generator().manual_seed(1))


def made():
    torch.manual_seed(1)
    keys = {"d_model": 6, "d_cell": 9, "filters": [3, 4], "dropout": 0.0}
    return build("elmo", vocab_size=9, **keys)


def batch(rows: slice = slice(None), *, valid: bool = True) -> Labelled:
    told = sum(n - 1 for n in LENGTHS[rows])
    return Labelled(
        LETTERS[rows], VALID[rows] if valid else None, None, LABELS[rows], told, sum(LENGTHS[rows])
    )


def test_it_is_a_loop_over_words():
    network, loss = made(), Bidirectional()(made(), batch())
    forward = backward = 0.0
    for row, n in enumerate(LENGTHS):
        logp = network(LETTERS[row : row + 1, :n])[0].log_softmax(-1)  # n 2 v
        forward -= sum(logp[k - 1, 0, LABELS[row, k]] for k in range(1, n))
        backward -= sum(logp[k + 1, 1, LABELS[row, k]] for k in range(n - 1))
    assert loss.total.item() == pytest.approx((forward + backward).item(), rel=1e-5)
    assert loss.parts["forward_nll"].item() == pytest.approx(forward.item(), rel=1e-5)
    assert loss.parts["backward_nll"].item() == pytest.approx(backward.item(), rel=1e-5)
    assert loss.parts["nll"].item() == pytest.approx((forward + backward).item() / 2, rel=1e-5)
    assert loss.tokens == sum(LENGTHS) - 3


def test_both_directions_teach_the_one_head():
    network = made()
    loss = Bidirectional()(network, batch())
    loss.total.backward()
    found = network.head.weight.grad.clone()
    network.zero_grad()
    logp = network(LETTERS, VALID).log_softmax(-1)
    real = VALID[:, 1:]
    ahead = logp[:, :-1, 0].gather(2, LABELS[:, 1:, None])[real].sum()
    behind = logp[:, 1:, 1].gather(2, LABELS[:, :-1, None])[real].sum()
    (-ahead - behind).backward()
    torch.testing.assert_close(found, network.head.weight.grad, rtol=1e-4, atol=1e-5)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_without_padding():
    network = made()
    with_valid, without = (
        Bidirectional()(network, batch(slice(1), valid=v)) for v in (True, False)
    )
    assert with_valid.total.item() == pytest.approx(without.total.item(), rel=1e-6)
