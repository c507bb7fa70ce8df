"""What a model ends with."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.dropout import Dropout
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
    """act(dense(dropout(x))) of the first token: a vector for a text or an image.

    With tanh it is BERT's (Devlin et al. 2019, as released) and ViT's in pre-training (Dosovitskiy
    et al. 2021, section 3.1); RoBERTa's has the dropout, DistilBERT's a ReLU.
    """

    def __init__(self, d_model: int, act: Activation = torch.tanh, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dense, self.act, self.dropout = nn.Linear(d_model, d_model), act, Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """`b n m` -> `b m`."""
        return self.act(self.dense(self.dropout(x[:, 0])))


@final
class FirstToken(nn.Module):
    """The first token as it is: ViT's [class] token (Dosovitskiy et al. 2021, eq. 4)."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """`b n m` -> `b m`."""
        return x[:, 0]


@final
class LastToken(nn.Module):
    """The last real token, which has seen all of the text in a decoder (Radford et al. 2018)."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """`b n m` -> `b m`; `valid` is true at real tokens, `b n`."""
        if valid is None:
            return x[:, -1]
        last = (valid * torch.arange(valid.shape[1], device=x.device)).argmax(1)
        return x[torch.arange(len(x), device=x.device), last]


@final
class MaxOverTime(nn.Module):
    """The largest of each feature over the tokens (Kim 2014, section 2)."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """`b n m` -> `b m`; `valid` is true at real tokens, `b n`."""
        if valid is not None:
            x = x.masked_fill(~valid.unsqueeze(-1), torch.finfo(x.dtype).min)
        return x.amax(1)


@final
class EveryToken(nn.Module):
    """All of them, for labels of tokens."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """`b n m` -> `b n m`."""
        return x


@final
class MaxNormLinear(nn.Linear):
    """A linear layer whose rows are cut back to a length of `max_norm` before each use in training.

    Hinton et al. 2012, "Improving neural networks by preventing co-adaptation of feature
    detectors"; Kim 2014, section 2.1. There it follows each step, which is the same to the network.
    """

    def __init__(self, d_in: int, d_out: int, max_norm: float) -> None:
        super().__init__(d_in, d_out)
        self.max_norm = max_norm

    def forward(self, x: Tensor) -> Tensor:
        """`... in` -> `... out`."""
        if self.training:
            with torch.no_grad():
                self.weight.copy_(self.weight.renorm(2, 0, self.max_norm))
        return super().forward(x)


@final
class Scale(nn.Module):
    """Times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same out."""
        return x * self.factor
