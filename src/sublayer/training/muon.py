"""Muon: momentum made orthogonal for the matrices inside the stacks, AdamW for everything else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from sublayer.layers.block import Body

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration: steep at zero, so that five rounds suffice (Jordan et al. 2024)."""
ROUNDS = 5


def orthogonal(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """`n r c` -> the same with all singular values near 1, by Newton and Schulz's iteration.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". The products are
    in `dtype`, by default in that of the matrices; the iteration bears bfloat16 well.
    """
    x = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)).to(dtype or x.dtype)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrices.dtype)
    return x.mT if matrices.shape[-2] > matrices.shape[-1] else x


def inner_matrices(network: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon is for: matrices of the bodies, tables of embeddings left out."""
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    bodies = [m for m in network.modules() if isinstance(m, Body)]
    found = {id(p): p for body in bodies for p in body.parameters() if p.ndim == 2}
    return [p for key, p in found.items() if key not in tables]


@final
class Muon(torch.optim.AdamW):
    """AdamW, but for the groups marked `orthogonal`.

    Their step is the Nesterov momentum made orthogonal, times 0.2 sqrt(max(rows, columns)): then it
    is as long as AdamW's, so that one rate and one decay serve all (Liu et al. 2025, "Muon is
    scalable for LLM training", eq. 4). Matrices of one shape are made orthogonal together, by
    products in the type `products`, or in their own.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        momentum: float = 0.95,
        products: torch.dtype | None = None,
        **adamw: Any,
    ) -> None:
        super().__init__([{"orthogonal": False} | group for group in groups], **adamw)
        self.momentum, self.products = momentum, products

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; the gradients of the orthogonal groups are used up."""
        assert closure is None, "no closure here"
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_orthogonal(group)
        super().step()

    def _step_orthogonal(self, group: dict[str, Any]) -> None:
        alike: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                alike[weight.shape].append(weight)
        for shape, weights in alike.items():
            gradients = [w.grad for w in weights if w.grad is not None]
            means = [self._mean(w) for w in weights]
            torch._foreach_lerp_(means, gradients, 1 - self.momentum)
            ahead = torch._foreach_lerp(gradients, means, self.momentum)
            steps = orthogonal(torch.stack(ahead), self.products).unbind()
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, steps, alpha=-group["lr"] * 0.2 * math.sqrt(max(shape)))
            for weight in weights:
                weight.grad = None  # so that AdamW passes it by

    def _mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum"]
        return mean
