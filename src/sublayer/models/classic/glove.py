"""GloVe (Pennington et al. 2014): products of vectors that say how often words stand together."""

from __future__ import annotations

from typing import Annotated, ClassVar, final

from pydantic import Field, PositiveInt
from torch import nn

from sublayer.layers.embedding import TokenEmbedding
from sublayer.models.base import FAMILIES, FamilyConfig
from sublayer.models.vectors import CountPredictor, spread


@final
@FAMILIES.add("glove")
class GloveConfig(FamilyConfig):
    """Keys of GloVe; the sizes are widths of published vectors."""

    vocab_size: Annotated[int, Field(ge=2)]
    d_model: PositiveInt = 100

    SIZES: ClassVar = {"tiny": {"d_model": 50}, "small": {"d_model": 100}, "base": {"d_model": 300}}

    def build(self) -> CountPredictor:
        """The network, initialized."""
        tables = [nn.Embedding(self.vocab_size, self.d_model) for _ in range(2)]
        for table in tables:
            spread(table)
        return CountPredictor(TokenEmbedding(tables[0]), tables[1])
