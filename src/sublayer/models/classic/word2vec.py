"""word2vec (Mikolov et al. 2013a, 2013b): words told from the words around them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, final

from pydantic import Field, PositiveInt
from torch import nn

from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.noise import NegativeSampling
from sublayer.layers.tree import HierarchicalSoftmax
from sublayer.models.base import FAMILIES, FamilyConfig
from sublayer.models.vectors import WordPredictor, spread


@final
@FAMILIES.add("word2vec")
class Word2VecConfig(FamilyConfig):
    """Keys of word2vec; `base` is the width of the published vectors of news."""

    vocab_size: Annotated[int, Field(ge=2)]
    d_model: PositiveInt = 100
    output: Literal["negative", "hierarchical"] = "negative"
    """Words are told from noise, or by turns in a tree."""

    SIZES: ClassVar = {"tiny": {"d_model": 50}, "small": {"d_model": 100}, "base": {"d_model": 300}}

    def build(self) -> WordPredictor:
        """The network, initialized: outputs are zero, as in the released code."""
        kind = NegativeSampling if self.output == "negative" else HierarchicalSoftmax
        table = nn.Embedding(self.vocab_size, self.d_model)
        network = WordPredictor(TokenEmbedding(table), kind(self.vocab_size, self.d_model))
        spread(table)
        for weight in network.output.parameters():
            nn.init.zeros_(weight)
        return network
