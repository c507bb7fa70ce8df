"""Token ids to vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.precision import product_dtype


@final
class TokenEmbedding(nn.Module):
    """Rows of a table times `scale`, which is sqrt(m) in Vaswani et al. 2017, section 3.4.

    The table is an `nn.Embedding` passed in, so that sharing is passing the same one twice. Under
    autocast the vectors leave in its type: the residual stream follows, and with it every
    elementwise pass halves its bytes.
    """

    def __init__(self, table: nn.Embedding, scale: float = 1.0) -> None:
        super().__init__()
        self.table, self.scale = table, scale

    def forward(self, ids: Tensor) -> Tensor:
        """`b n` -> `b n m`."""
        x = self.table(ids)
        return (x * self.scale if self.scale != 1 else x).to(product_dtype(x))


@final
class Channels(nn.Module):
    """Several embeddings of the same tokens, side by side (Kim 2014, section 2)."""

    def __init__(self, embeddings: Iterable[TokenEmbedding]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(embeddings)

    def forward(self, ids: Tensor) -> Tensor:
        """`b n` -> `b n (c m)`."""
        return torch.cat([embed(ids) for embed in self.embeddings], -1)


@final
class SegmentEmbedding(nn.Module):
    """Rows of a table plus those of the segments' table (Devlin et al. 2019, section 3.2)."""

    def __init__(self, table: nn.Embedding, segments: nn.Embedding) -> None:
        super().__init__()
        self.table, self.segments = table, segments

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """`b n`, `b n` -> `b n m`; without segments all tokens are of the first."""
        of_segment = self.segments.weight[0] if segments is None else self.segments(segments)
        x = self.table(ids) + of_segment
        return x.to(product_dtype(x))
