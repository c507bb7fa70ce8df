"""What families of word vectors share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.noise import NegativeSampling
from sublayer.layers.tree import HierarchicalSoftmax


class WordVectors(nn.Module, ABC):
    """Abstract. A vector for each word; `input` are those that others are told from."""

    input: TokenEmbedding

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """The finished vectors, `v m`."""

    def hidden(self, ids: Tensor) -> Tensor:
        """The same as `forward`: there is no head."""
        return self.table[ids]

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `...` -> vectors `... m`."""
        return self.hidden(ids)


@final
class WordPredictor(WordVectors):
    """Vectors of words, and what tells other words from them: by noise, or by turns in a tree."""

    def __init__(
        self, input: TokenEmbedding, output: NegativeSampling | HierarchicalSoftmax
    ) -> None:
        super().__init__()
        self.input, self.output = input, output

    @property
    def table(self) -> Tensor:
        """The input vectors, `v m`."""
        return self.input.table.weight


@final
class CountPredictor(WordVectors):
    """Vectors and biases of words, and of the words around them, that say how often both meet."""

    def __init__(self, input: TokenEmbedding, output: nn.Embedding) -> None:
        super().__init__()
        self.input, self.output = input, output
        self.input_bias = nn.Parameter(torch.zeros(input.table.num_embeddings))
        self.output_bias = nn.Parameter(torch.zeros(output.num_embeddings))

    @property
    def table(self) -> Tensor:
        """The sum of both vectors of each word (Pennington et al. 2014, 4.2), `v m`."""
        return self.input.table.weight + self.output.weight

    def log_counts(self, words: Tensor, around: Tensor) -> Tensor:
        """w . w~ + b + b~ (eq. 7), the logarithm of how often `around` is seen by `words`, `n`."""
        product = (self.input.table(words) * self.output(around)).sum(-1)
        return product + self.input_bias[words] + self.output_bias[around]


def spread(table: nn.Embedding) -> None:
    """Even numbers from -1/2m to 1/2m, as in the code released with word2vec and GloVe."""
    bound = 0.5 / table.embedding_dim
    nn.init.uniform_(table.weight, -bound, bound)
