"""BiLSTM labels of words and texts (Graves & Schmidhuber 2005; Huang et al. 2015, section 2.2)."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import PositiveInt
from torch import nn

from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.head import EveryToken, MaxOverTime
from sublayer.layers.init import glorot
from sublayer.layers.recurrent import LSTMCell, RecurrentEncoder, begin_well
from sublayer.models.base import FAMILIES, Classifier, FamilyConfig, Fraction


@final
@FAMILIES.add("bilstm")
class BiLSTMConfig(FamilyConfig):
    """Keys of LSTMs that read a text both ways."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 256
    """Width of the vectors of words."""
    d_reader: PositiveInt = 256
    """Width of each direction."""
    n_layers: PositiveInt = 1
    dropout: Fraction = 0.5
    """On what layers and the head read."""
    frozen: bool = False
    """Whether vectors of words stay as they begin."""
    head: Literal["classify", "tag"] = "tag"
    """What it is trained for: labels of texts, or of words."""
    n_labels: PositiveInt = 2

    SIZES: ClassVar = {
        "tiny": {"d_model": 64, "d_reader": 64},
        "base": {},
    }

    def build(self) -> Classifier:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        widths = (self.d_model, self.d_reader)
        network = Classifier(
            TokenEmbedding(table),
            RecurrentEncoder(LSTMCell, widths, self.n_layers, self.dropout, both_ways=True),
            EveryToken() if self.head == "tag" else MaxOverTime(),
            nn.Linear(2 * self.d_reader, self.n_labels),
            dropout=self.dropout,
        )
        glorot(network)
        begin_well(network)
        table.weight.requires_grad_(not self.frozen)
        return network
