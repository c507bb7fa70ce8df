"""`LayerNorm(x + Sublayer(x))`: where the norm sits is a class, not a flag."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn

from sublayer.layers.dropout import Dropout
from sublayer.layers.tap import Tap


class Residual(nn.Module):
    """Abstract. One sublayer and its way into the stream `b n m`.

    What `forward` is given beside the stream goes to the sublayer.
    """

    def __init__(self, layer: nn.Module, norm: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer, self.norm, self.dropout, self.stream = layer, norm, Dropout(dropout), Tap()

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """The stream after the sublayer."""
        raise NotImplementedError


@final
class PostNorm(Residual):
    """norm(x + dropout(layer(x))): Vaswani et al. 2017, sections 3.1 and 5.4."""

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """The stream after the sublayer."""
        return self.stream(self.norm(x + self.dropout(self.layer(x, *context))))


@final
class PreNorm(Residual):
    """x + dropout(layer(norm(x))): Wang et al. 2019, Xiong et al. 2020.

    The stream is never normalized, so the stack ends with a norm of its own.
    """

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """The stream after the sublayer."""
        return self.stream(x + self.dropout(self.layer(self.norm(x), *context)))


@final
class SandwichNorm(Residual):
    """x + dropout(after(layer(norm(x)))): Ding et al. 2021 (CogView), section 2.4; also Gemma 2.

    As with pre-norm, the stack ends with a norm of its own.
    """

    def __init__(
        self, layer: nn.Module, norm: nn.Module, after: nn.Module, dropout: float = 0.0
    ) -> None:
        super().__init__(layer, norm, dropout)
        self.after = after

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """The stream after the sublayer."""
        out = self.after(self.layer(self.norm(x), *context))
        return self.stream(x + self.dropout(out))
