"""The optimizer a recipe asks for, and its state under the parameters' names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sublayer.config.schema import Optimizer
from sublayer.training.muon import Muon, inner_matrices


def make_optimizer(
    network: nn.Module, optimizer: Optimizer, products: torch.dtype | None = None
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), Muon (Jordan et al. 2024), or
    Adagrad (Duchi et al. 2011).

    `products` is the type of Muon's matrix products, by default that of the weights. The learning
    rate is set at every step. Weight decay leaves out vectors: biases, norms and other parameters
    of fewer than two axes.
    """
    inner = inner_matrices(network) if optimizer.kind == "muon" else []
    apart = {id(p) for p in inner}
    matrices = [p for p in network.parameters() if p.ndim >= 2 and id(p) not in apart]
    vectors = [p for p in network.parameters() if p.ndim < 2]
    groups = [
        {"params": inner, "weight_decay": optimizer.weight_decay, "orthogonal": True},
        {"params": matrices, "weight_decay": optimizer.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": partial(torch.optim.Adam, betas=optimizer.betas, fused=True),
        "adamw": partial(torch.optim.AdamW, betas=optimizer.betas, fused=True),
        "muon": partial(Muon, betas=optimizer.betas, products=products, fused=True),
        "adagrad": partial(
            torch.optim.Adagrad, fused=all(p.device.type == "cpu" for p in network.parameters())
        ),
    }
    return kinds[optimizer.kind]([g for g in groups if g["params"]], lr=0.0, eps=optimizer.eps)


def optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as `<what>/<parameter>` -> tensor."""
    return {
        f"{what}/{name}": value
        for name, parameter in network.named_parameters()
        for what, value in optimizer.state[parameter].items()
    }


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave."""
    parameters = dict(network.named_parameters())
    for key, value in tensors.items():
        what, name = key.split("/", 1)
        optimizer.state[parameters[name]][what] = value.clone()
