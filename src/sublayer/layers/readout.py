"""What the head of a recurrent decoder reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.product import is_heard, is_plain, through
from sublayer.layers.unrolled import Held, is_recorded


class Readout(nn.Module, ABC):
    """Abstract. What the head reads."""

    @abstractmethod
    def forward(self, h: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """Outputs `b n d`, embeddings of the tokens before `b n e`, contexts `b n m` -> `b n o`."""

    def unroll(self, shape: tuple[int, ...]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """`forward` for one step of a loop after another; `shape` is `n b w`."""
        return self


@final
class MaxoutReadout(Readout):
    """The larger of each two sums of all three (Goodfellow et al. 2013).

    Cho et al. 2014, A.1.2; Bahdanau et al. 2015, A.2.2.
    """

    def __init__(self, d_read: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(d_read, 2 * width)

    def forward(self, h: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """`b n o`."""
        sums = through(self.inner, torch.cat([h.to(x.dtype), x, context], -1))
        return torch.maximum(*sums.chunk(2, -1))


@final
class TanhReadout(Readout):
    """tanh(W [c; h]), an attentional hidden state (Luong et al. 2015, eq. 5)."""

    def __init__(self, d_read: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(d_read, width)

    def forward(self, h: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """`b n o`."""
        return torch.tanh(through(self.inner, torch.cat([context, h.to(context.dtype)], -1)))

    def unroll(self, shape: tuple[int, ...]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """`forward` for one step after another, which in training cost less."""
        if not (is_recorded() and is_plain(self.inner)) or is_heard(self):
            return self
        inner = Held(self.inner.weight, self.inner.bias, shape=shape)
        return lambda h, x, context: torch.tanh(
            inner(torch.cat([context, h.to(context.dtype)], -1))
        )


@final
class PlainReadout(Readout):
    """The output itself (Sutskever et al. 2014)."""

    def forward(self, h: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """`b n d`."""
        return h
