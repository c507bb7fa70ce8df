from __future__ import annotations

import torch
from torch import nn

from sublayer.config.schema import Optimizer
from sublayer.training.optimizers import make_optimizer, optimizer_tensors, restore_optimizer


def test_adagrad_equals_its_formula_and_goes_on_where_it_stood():
    """Duchi et al. 2011: each number's rate falls with the root of its squared gradients' sum."""
    network = nn.Embedding(5, 3)
    optimizer = make_optimizer(network, Optimizer(kind="adagrad", eps=1e-8))
    expected, squares = network.weight.detach().double().clone(), torch.zeros(5, 3).double()
    for step in range(4):
        if step == 2:  # as a resumed run
            kept = {k: t.clone() for k, t in optimizer_tensors(network, optimizer).items()}
            optimizer = make_optimizer(network, Optimizer(kind="adagrad", eps=1e-8))
            restore_optimizer(network, optimizer, kept)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        gradient = torch.randn(5, 3)
        network.weight.grad = gradient.clone()
        optimizer.step()
        squares += gradient.double() ** 2
        expected -= 0.1 * gradient.double() / (squares.sqrt() + 1e-8)
    torch.testing.assert_close(network.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)
