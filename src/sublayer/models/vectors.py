"""What families of word vectors share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sublayer.layers.embedding import TokenEmbedding


class WordVectors(nn.Module, ABC):
    """Abstract. A vector for each word; `input` are those of words that others are told from."""

    input: TokenEmbedding

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """The finished vectors, `v m`."""

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `...` -> vectors `... m`."""
        return self.table[ids]


def spread(table: nn.Embedding) -> None:
    """Even numbers from -1/2m to 1/2m, as in the code released with both papers."""
    bound = 0.5 / table.embedding_dim
    nn.init.uniform_(table.weight, -bound, bound)
