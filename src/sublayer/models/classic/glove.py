"""GloVe (Pennington et al. 2014): products of vectors that say how often words stand together."""

from __future__ import annotations

from typing import Annotated, ClassVar, final

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from sublayer.models.base import FAMILIES, FamilyConfig
from sublayer.models.vectors import WordVectors, spread


@final
class Glove(WordVectors):
    """Vectors and biases of words, and of the words around them."""

    def __init__(self, input: nn.Embedding, output: nn.Embedding) -> None:
        super().__init__()
        self.input, self.output = input, output
        self.input_bias = nn.Parameter(torch.zeros(input.num_embeddings))
        self.output_bias = nn.Parameter(torch.zeros(output.num_embeddings))

    @property
    def table(self) -> Tensor:
        """The sum of both vectors of each word (section 4.2), `v m`."""
        return self.input.weight + self.output.weight

    def log_counts(self, words: Tensor, around: Tensor) -> Tensor:
        """w . w~ + b + b~ (eq. 7), the logarithm of how often `around` is seen by `words`, `n`."""
        product = (self.input(words) * self.output(around)).sum(-1)
        return product + self.input_bias[words] + self.output_bias[around]


@final
@FAMILIES.add("glove")
class GloveConfig(FamilyConfig):
    """Keys of GloVe."""

    vocab_size: Annotated[int, Field(ge=2)]
    d_model: PositiveInt = 100

    SIZES: ClassVar = {"tiny": {"d_model": 50}, "small": {"d_model": 100}, "base": {"d_model": 300}}

    def build(self) -> Glove:
        """The network, initialized."""
        tables = [nn.Embedding(self.vocab_size, self.d_model) for _ in range(2)]
        for table in tables:
            spread(table)
        return Glove(*tables)
