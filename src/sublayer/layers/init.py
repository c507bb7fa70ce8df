"""How weights begin."""

from __future__ import annotations

from torch import nn


def glorot(module: nn.Module) -> None:
    """Matrices by Glorot & Bengio 2010, biases zero, embedding tables normal with deviation m^-0.5.

    The paper names no initialization; this is what its own code (tensor2tensor) and most that
    follow use. With tables of that deviation, scaled embeddings have unit variance and a shared
    pre-softmax matrix gives logits of order one.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5)


def normal(module: nn.Module, deviation: float = 0.02) -> None:
    """Matrices and tables normal, biases zero (Radford et al. 2018, section 4.1)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=deviation)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
