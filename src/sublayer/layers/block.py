"""Sublayers in a block, blocks in a stack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.dropout import Dropout
from sublayer.layers.frame import Frame
from sublayer.layers.mask import Mask
from sublayer.layers.position import Position
from sublayer.layers.residual import Residual
from sublayer.layers.state import State


@final
class Block(nn.Module):
    """Self-attention, cross-attention if there is a memory, feed-forward; each in its residual."""

    def __init__(
        self, attention: Residual, feedforward: Residual, cross: Residual | None = None
    ) -> None:
        super().__init__()
        self.attention, self.cross, self.feedforward = attention, cross, feedforward

    def forward(
        self,
        x: Tensor,
        frame: Frame,
        memory: Tensor | None = None,
        memory_frame: Frame | None = None,
        state: State | None = None,
    ) -> Tensor:
        """`b n m` -> `b n m`; `memory` is `b k m`."""
        x = self.attention(x, frame, state)
        if self.cross is not None:
            x = self.cross(x, memory, memory_frame, state)
        return self.feedforward(x)


class Body(nn.Module, ABC):
    """Abstract. What stands between the embeddings and what is read from them: all the layers."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Embeddings `b n m` -> what the last layer gives, `b n m`; `memory` is `b k m`.

        With a state, `x` is what comes after what it has seen, and `valid` (`b n`), if given, is
        false at padding in it; without one, padding is the mask's.
        """


@final
class Stack(Body):
    """Blocks in a row, with positions at the entry and, for pre-norm, a norm at the end.

    `entry` is what embeddings pass after their positions were added: BERT's norm. The blocks are
    gone through `rounds` times, which shares them over depth (Lan et al. 2020, section 3.1).
    """

    def __init__(
        self,
        blocks: Iterable[Block],
        position: Position,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
        *,
        entry: nn.Module | None = None,
        rounds: int = 1,
    ) -> None:
        super().__init__()
        self.position, self.dropout = position, Dropout(dropout)
        self.entry = entry if entry is not None else nn.Identity()
        self.blocks, self.rounds = nn.ModuleList(blocks), rounds
        self.norm = norm if norm is not None else nn.Identity()

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Embeddings `b n m` -> the last block's output `b n m`.

        With a state, `x` is what comes after the positions it has seen, and `valid` (`b n`), if
        given, is false at padding in it: rows then have positions of their own.
        """
        assert valid is None or state is not None, "without a state, padding is the mask's"
        if state is None:
            positions = past = torch.arange(x.shape[1], device=x.device)
            self.position.reach(len(past))
        else:
            span = None if mask is None else mask.span
            positions, past = state.advance(x.shape[1], x.device, valid, span=span)
            self.position.reach(state.reach)
            mask = state.narrow(mask, x.shape[1])
        frame = Frame(positions, past, mask, self.position)
        memory_frame = None
        if memory is not None:
            memory_frame = Frame(
                positions, torch.arange(memory.shape[1], device=x.device), memory_mask
            )
        x = self.dropout(self.entry(self.position.embed(x, positions)))
        assert state is None or self.rounds == 1, (
            "a state knows a block by itself, not by its round"
        )
        for _ in range(self.rounds):
            for block in self.blocks:
                x = block(x, frame, memory, memory_frame, state)
        return self.norm(x)
