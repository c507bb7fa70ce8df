"""How a model knows where a token stands.

A scheme answers exactly one of three questions: what to add to the embeddings, how to turn queries
and keys, what to add to the scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

Turn = Callable[[Tensor], Tensor]
"""Queries or keys `b h n d`, turned by positions that are settled."""


class Position(nn.Module):
    """Abstract. A scheme overrides one of the three questions; the answers here are "nothing"."""

    def reach(self, n: int) -> None:
        """Called before positions up to `n - 1` are asked about: to make room, or to refuse."""

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Embeddings `b n m` with something added for their positions (`n` or `b n`)."""
        return x

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """Queries or keys `b h n d`, turned by their positions."""
        return x

    def turning(self, positions: Tensor, dtype: torch.dtype) -> Turn:
        """`turn` at the same positions for many tensors of one type: a pass asks for it once."""
        return lambda x: self.turn(x, positions)

    def bias(self, q_pos: Tensor, k_pos: Tensor) -> Tensor | None:
        """What is added to the scores, broadcastable to `b h q k`."""
        return None


def sinusoids(n: int, d_model: int) -> Tensor:
    """The table `n m` of Vaswani et al. 2017, section 3.5: sine on even columns, cosine on odd."""
    if d_model % 2:
        raise ValueError(
            f"sinusoidal positions need an even d_model, got {d_model}; use learned positions"
        )
    where = torch.arange(n, dtype=torch.float64).unsqueeze(1)
    rates = torch.exp(
        torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10_000.0) / d_model)
    )
    table = torch.empty(n, d_model, dtype=torch.float64)
    table[:, 0::2], table[:, 1::2] = torch.sin(where * rates), torch.cos(where * rates)
    return table.float()


@final
class Sinusoidal(Position):
    """PE(pos, 2i) = sin(pos / 10000^(2i/m)), PE(pos, 2i+1) = cos of it; for any length.

    With `halves` all sines stand before all cosines, as in tensor2tensor, fairseq and Marian.
    """

    table: Tensor

    def __init__(self, max_length: int, d_model: int, *, halves: bool = False) -> None:
        super().__init__()
        self.halves = halves
        self.register_buffer("table", self._make(max_length, d_model), persistent=False)

    def _make(self, n: int, d_model: int) -> Tensor:
        table = sinusoids(n, d_model)
        return torch.cat((table[:, 0::2], table[:, 1::2]), 1) if self.halves else table

    def reach(self, n: int) -> None:
        """A longer table, computed, when the one there is too short."""
        if n > len(self.table):
            self.table = self._make(2 * n, self.table.shape[1]).to(self.table.device)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Embeddings `b n m` plus the table's rows."""
        return x + self.table[positions].to(x.dtype)


@final
class Learned(Position):
    """One trained vector a position; the alternative of Vaswani et al. 2017, table 3, row E.

    The first `skipped` rows of the table are nobody's, as in RoBERTa's checkpoints.
    """

    def __init__(self, max_length: int, d_model: int, *, skipped: int = 0) -> None:
        super().__init__()
        self.table, self.skipped = nn.Embedding(max_length + skipped, d_model), skipped

    def reach(self, n: int) -> None:
        """Refuses positions that have no vector.

        Raises:
            ValueError: `n` is over the length the model learned.
        """
        learned = self.table.num_embeddings - self.skipped
        if n > learned:
            raise ValueError(
                f"{n} positions, but the model learned {learned}; "
                "shorten the text or train with a larger max_length"
            )

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Embeddings `b n m` plus the table's rows."""
        return x + self.table(positions + self.skipped).to(x.dtype)
