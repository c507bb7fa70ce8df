"""The position-wise feed-forward network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.dropout import Dropout
from sublayer.layers.joint import joint

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


@final
class FeedForward(nn.Module):
    """down(act(up(x))) at every position (Vaswani et al. 2017, eq. 2); `act` is ReLU by default.

    `dropout` falls on the activations, as in tensor2tensor and T5; the paper has none there.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        act: Activation = F.relu,
        *,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff, bias), nn.Linear(d_ff, d_model, bias)
        self.act, self.dropout = act, Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        return self.down(self.dropout(self.act(self.up(x))))


@final
class GatedFeedForward(nn.Module):
    """down(act(gate(x)) * up(x)) (Shazeer 2020, "GLU variants", eqs. 5 and 6)."""

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        act: Activation = F.silu,
        *,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(d_model, d_ff, bias), nn.Linear(d_model, d_ff, bias)
        self.down = nn.Linear(d_ff, d_model, bias)
        self.act, self.dropout = act, Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`b n m` -> `b n m`."""
        gate, up = joint(x, self.gate, self.up)
        return self.down(self.dropout(self.act(gate) * up))
