"""One forward pass: where the tokens stand and who may see whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from sublayer.layers.mask import Causal, Mask
from sublayer.layers.position import Position, Turn

T = TypeVar("T")


@final
class Frame:
    """Positions, symbolic mask and position scheme; made once by a stack and handed to every block.

    `q_pos` is `q` or `b q`, `k_pos` is `k` or `b k`. Dense tensors are made once, when asked for.
    """

    def __init__(
        self,
        q_pos: Tensor,
        k_pos: Tensor,
        mask: Mask | None = None,
        position: Position | None = None,
    ) -> None:
        self.q_pos, self.k_pos, self.mask, self.position = q_pos, k_pos, mask, position
        self._made: dict[str, Any] = {}
        self._turns: dict[torch.dtype, Turn] = {}

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` gives, made when it is first asked for under this name."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def is_causal(self) -> bool:
        """Whether the mask is the plain triangle, for which kernels have a flag."""
        return isinstance(self.mask, Causal) and self.q_pos is self.k_pos and self.q_pos.ndim == 1

    def allowed(self) -> Tensor | None:
        """The mask as a tensor that broadcasts to `b q k`; None where everybody sees everything."""
        mask = self.mask
        return None if mask is None else self.once("allowed", lambda: mask(self.q_pos, self.k_pos))

    def bias(self) -> Tensor | None:
        """What the position scheme adds to the scores, broadcastable to `b h q k`."""
        scheme = self.position
        return (
            None
            if scheme is None
            else self.once("bias", lambda: scheme.bias(self.q_pos, self.k_pos))
        )

    def is_plain(self) -> bool:
        """Whether positions neither turn queries and keys nor add to their scores."""
        return self.once("plain", self._is_plain)

    def _is_plain(self) -> bool:
        kind = Position if self.position is None else type(self.position)
        turns = kind.turn is not Position.turn or kind.turning is not Position.turning
        return not turns and self.bias() is None

    def veil(self, dtype: torch.dtype) -> Tensor | None:
        """Mask and bias as what is added to scores, broadcastable to `b h q k`; None for neither.

        What is hidden gets half of the lowest number: a score cannot push it over the edge, and a
        softmax still gives exactly 0.
        """
        return self.once(f"veil {dtype}", lambda: self._veil(dtype))

    def _veil(self, dtype: torch.dtype) -> Tensor | None:
        bias, allowed = self.bias(), self.allowed()
        if allowed is None:
            return None if bias is None else bias.to(dtype)
        if allowed.ndim == 3:
            allowed = allowed.unsqueeze(-3)  # b q k -> b 1 q k
        lowest = torch.finfo(dtype).min / 2
        if bias is None:
            return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, lowest)
        return bias.to(dtype).masked_fill(~allowed, lowest)

    def blind(self) -> Tensor | None:
        """True at queries that may see nobody, broadcastable to `b h q 1`; None if all see."""
        return self.once("blind", self._blind)

    def _blind(self) -> Tensor | None:
        allowed = self.allowed()
        if allowed is None or self.is_causal:
            return None
        blind = ~allowed.any(-1, keepdim=True)
        if not torch.compiler.is_compiling() and blind.device.type == "cpu" and not blind.any():
            return None  # asked only where the answer is at hand: a GPU would have to be waited for
        return blind.unsqueeze(-3) if blind.ndim == 3 else blind

    def turn(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """New queries and keys `b h n d`, which share their positions, as the scheme turns them."""
        if self.position is None:
            return q, k
        return self._turning(q.dtype)(q), self._turning(k.dtype)(k)

    def _turning(self, dtype: torch.dtype) -> Turn:
        assert self.position is not None
        if dtype not in self._turns:
            self._turns[dtype] = self.position.turning(self.q_pos, dtype)
        return self._turns[dtype]
