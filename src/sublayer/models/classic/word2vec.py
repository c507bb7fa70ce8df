"""word2vec (Mikolov et al. 2013a, 2013b): words told from the words around them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, final

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from sublayer.layers.noise import NegativeSampling
from sublayer.layers.tree import HierarchicalSoftmax
from sublayer.models.base import FAMILIES, FamilyConfig
from sublayer.models.vectors import WordVectors, spread


@final
class Word2Vec(WordVectors):
    """Input vectors, and what tells words from them: by noise, or by turns in a tree."""

    def __init__(self, input: nn.Embedding, output: NegativeSampling | HierarchicalSoftmax) -> None:
        super().__init__()
        self.input, self.output = input, output

    @property
    def table(self) -> Tensor:
        """The input vectors, `v m`."""
        return self.input.weight


@final
@FAMILIES.add("word2vec")
class Word2VecConfig(FamilyConfig):
    """Keys of word2vec; the defaults are those of the released code."""

    vocab_size: Annotated[int, Field(ge=2)]
    d_model: PositiveInt = 100
    output: Literal["negative", "hierarchical"] = "negative"

    SIZES: ClassVar = {"tiny": {"d_model": 50}, "small": {"d_model": 100}, "base": {"d_model": 300}}

    def build(self) -> Word2Vec:
        """The network, initialized: outputs are zero, as in the released code."""
        kind = NegativeSampling if self.output == "negative" else HierarchicalSoftmax
        network = Word2Vec(
            nn.Embedding(self.vocab_size, self.d_model), kind(self.vocab_size, self.d_model)
        )
        spread(network.input)
        for weight in network.output.parameters():
            nn.init.zeros_(weight)
        return network
