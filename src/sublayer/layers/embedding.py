"""Token ids to vectors."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor, nn

from sublayer.layers.precision import product_dtype


@final
class ScaledEmbedding(nn.Module):
    """Rows of a table times sqrt(m) (Vaswani et al. 2017, section 3.4).

    The table is an `nn.Embedding` passed in, so that sharing is passing the same one twice. Under
    autocast the vectors leave in its type: the residual stream follows, and with it every
    elementwise pass halves its bytes.
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.scale = math.sqrt(table.embedding_dim)

    def forward(self, ids: Tensor) -> Tensor:
        """`b n` -> `b n m`."""
        x = self.table(ids)
        return (x * self.scale).to(product_dtype(x))
