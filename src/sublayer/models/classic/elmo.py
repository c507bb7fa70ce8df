"""ELMo (Peters et al. 2018, "Deep contextualized word representations")."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import nn

from sublayer.layers.bidirectional import BidirectionalStack, LayerMix, MixedReader
from sublayer.layers.convolution import WordWindows
from sublayer.layers.head import EveryToken, MaxOverTime
from sublayer.layers.init import glorot
from sublayer.layers.recurrent import LSTMCell, RecurrentEncoder, begin_well
from sublayer.layers.spelling import Highway, SpelledWords
from sublayer.models.base import FAMILIES, Classifier, FamilyConfig, Fraction
from sublayer.models.bidirectional import BidirectionalModel


@final
@FAMILIES.add("elmo")
class ElmoConfig(FamilyConfig):
    """Keys of ELMo; the defaults are the paper's (section 3.4)."""

    reads_letters: ClassVar[bool] = True

    vocab_size: PositiveInt
    """Words that can be told; a head for labels tells none."""
    source_vocab_size: PositiveInt = 260
    """Letters: bytes, and what stands round them."""
    d_model: PositiveInt = 512
    """Width of a direction: of words' vectors, and of what a layer gives."""
    d_cell: PositiveInt = 4096
    """Cells of a layer, of which its output is a projection; d_model: none."""
    n_layers: PositiveInt = 2
    """Of each direction."""
    d_letter: PositiveInt = 16
    filters: list[PositiveInt] = Field(
        default=[32, 32, 64, 128, 256, 512, 1024], min_length=1, max_length=50
    )
    """Over windows of one letter, of two, of three, ..."""
    n_highways: NonNegativeInt = 2
    dropout: Fraction = 0.1
    """On what layers and the head read."""
    head: Literal["words", "classify", "tag"] = "words"
    """What it is trained for: to tell words, or labels of texts or of words."""
    n_labels: PositiveInt = 2
    d_reader: NonNegativeInt = 256
    """Width of a direction of the biLSTM that reads the vectors for labels; 0: there is none."""
    head_dropout: Fraction = 0.5
    """On the vectors, and on what the labels are read from."""
    frozen: bool = True
    """Whether all but the mix and what reads it stays as it is under labels."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 64, "d_cell": 256, "filters": [16, 16, 32, 64], "n_highways": 1},
        "small": {"d_model": 128, "d_cell": 1024, "n_highways": 1},
        "medium": {"d_model": 256, "d_cell": 2048, "n_highways": 1},
        "base": {},
    }

    @model_validator(mode="after")
    def _projects(self) -> ElmoConfig:
        if self.d_cell < self.d_model:
            raise ValueError(
                f"d_cell {self.d_cell} is less than d_model {self.d_model}, to which cells are "
                "projected; raise it or lower d_model"
            )
        return self

    def build(self) -> BidirectionalModel | Classifier:
        """The network, initialized."""
        d_features, is_frozen = sum(self.filters), self.head != "words" and self.frozen
        highways = [Highway(d_features) for _ in range(self.n_highways)]
        embed = SpelledWords(
            nn.Embedding(self.source_vocab_size, self.d_letter),
            WordWindows(self.d_letter, [*enumerate(self.filters, 1)]),
            highways,
            nn.Linear(d_features, self.d_model),
        )
        dropout = 0.0 if is_frozen else self.dropout
        stack = BidirectionalStack(self.d_model, self.d_cell, self.n_layers, dropout)
        network = (
            BidirectionalModel(embed, stack, nn.Linear(self.d_model, self.vocab_size))
            if self.head == "words"
            else self._labels(embed, stack)
        )
        glorot(network)
        begin_well(network)
        for highway in highways:
            highway.begin_open()
        if is_frozen:
            for part in (embed, stack):
                part.requires_grad_(False)
        return network

    def _labels(self, embed: nn.Module, stack: BidirectionalStack) -> Classifier:
        reader = None
        if self.d_reader:
            widths = (2 * self.d_model, self.d_reader)
            reader = RecurrentEncoder(LSTMCell, widths, 1, self.head_dropout, both_ways=True)
        pool = EveryToken() if self.head == "tag" else MaxOverTime()
        return Classifier(
            embed,
            stack,
            MixedReader(LayerMix(self.n_layers + 1), reader, pool, self.head_dropout),
            nn.Linear(2 * (self.d_reader or self.d_model), self.n_labels),
            dropout=0.0 if reader is None else self.head_dropout,
        )
