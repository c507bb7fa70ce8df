"""What a model ends with."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from sublayer.layers.feedforward import Activation


@final
class MaskedHead(nn.Module):
    """out(norm(act(dense(x)))): logits for masked tokens (Devlin et al. 2019, as released).

    `out` has a bias of its own also where its matrix is the embedding table, of width `d_out`.
    """

    def __init__(
        self,
        d_model: int,
        vocab_size: int,
        act: Activation,
        *,
        d_out: int | None = None,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        width = d_model if d_out is None else d_out
        self.dense, self.norm = nn.Linear(d_model, width), nn.LayerNorm(width, eps=norm_eps)
        self.out, self.act = nn.Linear(width, vocab_size), act

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n v`."""
        return self.out(self.norm(self.act(self.dense(x))))


@final
class Pooler(nn.Module):
    """tanh(dense(x)) of the first token (Devlin et al. 2019, as released)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b m`."""
        return self.dense(x[:, 0]).tanh()


@final
class Scale(nn.Module):
    """Times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same out."""
        return x * self.factor
