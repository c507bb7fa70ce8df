"""TextCNN (Kim 2014, "Convolutional neural networks for sentence classification")."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from sublayer.layers.convolution import WordWindows
from sublayer.layers.embedding import Channels, TokenEmbedding
from sublayer.layers.head import MaxNormLinear, MaxOverTime
from sublayer.layers.init import glorot
from sublayer.models.base import FAMILIES, Classifier, FamilyConfig, Fraction


@final
@FAMILIES.add("textcnn")
class TextCNNConfig(FamilyConfig):
    """Keys of TextCNN; the defaults are the paper's (section 3.1)."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 300
    """Width of the vectors of words."""
    widths: list[PositiveInt] = Field(default=[3, 4, 5], min_length=1)
    """Words in a window of each kind of filter."""
    n_filters: PositiveInt = 100
    """Of each width."""
    channels: Literal["tuned", "static", "both"] = "tuned"
    """Whether vectors of words are trained, stay as they begin, or one set of each (section 3.3).

    Of both a filter has weights for each, as for the colours of a picture.
    """
    dropout: Fraction = 0.5
    """On the features that the labels are read from."""
    max_norm: PositiveFloat | None = 3.0
    """Longest vector of weights of a label (section 2.1); None: any."""
    head: Literal["classify"] = "classify"
    """What it is trained for: labels of texts."""
    n_labels: PositiveInt = 2

    SIZES: ClassVar = {
        "tiny": {"d_model": 64, "n_filters": 32},
        "base": {},
    }

    def build(self) -> Classifier:
        """The network, initialized."""
        n_channels = 2 if self.channels == "both" else 1
        tables = [nn.Embedding(self.vocab_size, self.d_model) for _ in range(n_channels)]
        d_features = len(self.widths) * self.n_filters
        head = (
            nn.Linear(d_features, self.n_labels)
            if self.max_norm is None
            else MaxNormLinear(d_features, self.n_labels, self.max_norm)
        )
        network = Classifier(
            Channels(map(TokenEmbedding, tables)),
            WordWindows(n_channels * self.d_model, [(h, self.n_filters) for h in self.widths]),
            MaxOverTime(),
            head,
            dropout=self.dropout,
        )
        glorot(network)
        nn.init.uniform_(tables[0].weight, -0.25, 0.25)  # about as long as word2vec's vectors
        tables[-1].weight.data.copy_(tables[0].weight)
        if self.channels != "tuned":
            tables[0].weight.requires_grad_(False)
        return network
