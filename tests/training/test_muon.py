"""Muon against the polynomial it iterates, PyTorch's own Muon, and AdamW for the rest."""

import pytest
import torch
from torch import nn

import sublayer
from sublayer.config.schema import Optimizer
from sublayer.training.muon import COEFFICIENTS, ROUNDS, Muon, inner_matrices, orthogonal
from sublayer.training.optimizers import make_optimizer, optimizer_tensors, restore_optimizer


@pytest.mark.parametrize("shape", [(4, 8, 8), (2, 5, 12), (3, 12, 5)])
def test_orthogonal_is_the_polynomial_of_the_singular_values(shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    s = s / x.norm(dim=(-2, -1))[:, None]
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonal(x), u * s[:, None] @ v)
    assert s.min() > 0.3
    assert s.max() < 1.3


def test_a_matrix_of_zeros_stays_zero():
    assert orthogonal(torch.zeros(1, 3, 4)).abs().max() == 0


def test_orthogonal_in_bfloat16_is_about_the_same():
    x = torch.randn(3, 8, 20)
    narrow = orthogonal(x, torch.bfloat16)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, orthogonal(x), atol=0.05, rtol=0.05)


def test_steps_equal_those_of_torch():
    torch.manual_seed(0)
    weights = [torch.randn(6, 10), torch.randn(10, 6), torch.randn(6, 10)]
    ours = [nn.Parameter(w.clone()) for w in weights]
    theirs = [nn.Parameter(w.clone()) for w in weights]
    mine = Muon([{"params": ours, "weight_decay": 0.1, "orthogonal": True}], lr=0.01)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        reference.step()
    for a, b, start in zip(ours, theirs, weights, strict=True):
        moved = (b - start).norm()
        assert (a - b).norm() < 0.02 * moved  # theirs iterates in bfloat16


def test_matrices_of_the_stacks_are_apart_and_the_rest_is_adamw():
    network = sublayer.build("transformer", "tiny", vocab_size=11)
    inner = {id(p) for p in inner_matrices(network)}
    names = {name for name, p in network.named_parameters() if id(p) in inner}
    assert names == {
        name
        for name, p in network.named_parameters()
        if name.startswith(("encoder.", "decoder.")) and p.ndim == 2
    }
    vector, table = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 3))
    twins = [nn.Parameter(p.detach().clone()) for p in (vector, table)]
    mine = Muon([{"params": [vector, table]}], lr=0.1, weight_decay=0.5)
    reference = torch.optim.AdamW(twins, lr=0.1, weight_decay=0.5)
    for a, b in zip([vector, table], twins, strict=True):
        a.grad = torch.full_like(a, 0.3)
        b.grad = a.grad.clone()
    mine.step()
    reference.step()
    torch.testing.assert_close([vector, table], twins)


def test_state_goes_into_a_checkpoint_and_back():
    def train(network, optimizer, steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        for i in steps:
            optimizer.zero_grad(set_to_none=True)
            ids = torch.arange(1, 7)[None] + i
            network(ids, ids).logsumexp(-1).sum().backward()
            optimizer.step()

    def fresh():
        torch.manual_seed(0)
        network = sublayer.build("transformer", "tiny", vocab_size=11, dropout=0.0)
        return network, make_optimizer(network, Optimizer(kind="muon"))

    straight, optimizer = fresh()
    train(straight, optimizer, range(4))
    first, optimizer = fresh()
    train(first, optimizer, range(2))
    second, again = fresh()
    second.load_state_dict(first.state_dict())
    restore_optimizer(second, again, optimizer_tensors(first, optimizer))
    train(second, again, range(2, 4))
    for a, b in zip(straight.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
