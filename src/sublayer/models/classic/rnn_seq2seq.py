"""Recurrent models from text to text, without attention and with it.

Cho et al. 2014 (RNN Encoder-Decoder), Sutskever et al. 2014, Bahdanau et al. 2015 (RNNsearch),
Luong et al. 2015.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import PositiveInt, model_validator
from torch import nn

from sublayer.layers.alignment import Alignment, Everywhere, Focus, Monotonic, Predictive
from sublayer.layers.block import Body
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.init import glorot
from sublayer.layers.readout import MaxoutReadout, PlainReadout, TanhReadout
from sublayer.layers.recurrent import (
    Cell,
    GRUCell,
    LSTMCell,
    RecurrentEncoder,
    StatesEncoder,
    VectorEncoder,
    begin_well,
)
from sublayer.layers.recurrent_decoder import (
    AfterDecoder,
    Bridge,
    FeedingDecoder,
    SearchDecoder,
    Unpack,
    VectorDecoder,
)
from sublayer.models.base import FAMILIES, EncoderDecoder, FamilyConfig, Fraction
from sublayer.models.choices import SCORES, ScoreName

CELLS: dict[str, type[Cell]] = {"gru": GRUCell, "lstm": LSTMCell}
OF_ONE_WIDTH = {"dot", "scaled_dot", "content"}
"""Scores whose queries and keys must be equally wide."""


@final
@FAMILIES.add("rnn_seq2seq")
class RNNSeq2SeqConfig(FamilyConfig):
    """Keys of recurrent encoder-decoders; the defaults are RNNsearch's but for its size."""

    vocab_size: PositiveInt
    source_vocab_size: PositiveInt | None = None
    """None: source and target share one vocabulary."""
    d_model: PositiveInt = 512
    """Width of the recurrences; an encoder that reads both ways has it twice."""
    d_embedding: PositiveInt | None = None
    """None: as d_model."""
    n_layers: PositiveInt = 1
    """Of the encoder, and of the decoder."""
    cell: Literal["gru", "lstm"] = "gru"
    attention: Literal["none", "bahdanau", "luong"] = "bahdanau"
    """None: all that is read becomes one vector."""
    score: ScoreName | None = None
    """None: as published, additive for bahdanau, general for luong; luong's concat is additive."""
    local: Literal["monotonic", "predictive"] | None = None
    """Luong's local attention: local-m or local-p; None: global."""
    reach: PositiveInt = 10
    """Places on each side of local attention's centre that are seen."""
    input_feeding: bool = True
    """Whether luong's decoder reads what it said at the step before."""
    both_ways: bool | None = None
    """Whether the encoder reads backwards too; None: as published, for bahdanau alone."""
    vector: Literal["every_step", "start"] = "every_step"
    """Without attention: read again at every step (Cho), or only to begin with (Sutskever)."""
    backwards: bool = False
    """Whether the source is read from its end, where vector = "start" (Sutskever)."""
    dropout: Fraction = 0.2
    """On what layers and head read (Zaremba et al. 2014)."""
    tied: Literal["all", "output", "none"] = "none"
    """Which are one matrix: all (source and target embedding, pre-softmax), the last two, none."""
    max_length: PositiveInt = 512
    """Longest source of the location score; the others have no limit."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128},
        "small": {"d_model": 256},
        "base": {"d_model": 512},
        "rnnsearch": {"d_model": 1000, "d_embedding": 620, "dropout": 0.0},
    }

    @model_validator(mode="after")
    def _fits(self) -> RNNSeq2SeqConfig:
        self._check_attention()
        self._check_used()
        score = self.alignment_score
        if self.attention != "none" and self.reads_both_ways and score in OF_ONE_WIDTH:
            raise ValueError(
                f"score '{score}' needs queries and keys of one width, but an encoder that reads "
                f"both ways gives twice d_model; use score = 'general' or both_ways = false"
            )
        if self.tied == "all" and self.source_vocab_size not in {None, self.vocab_size}:
            raise ValueError(
                "tied = 'all' needs one vocabulary; use tied = 'output' with separate ones"
            )
        if self.tied != "none" and self.said_width != self.embedding_width:
            raise ValueError(
                f"tied = '{self.tied}': what the head reads has width {self.said_width}, the "
                f"embedding {self.embedding_width}; leave d_embedding out or use tied = 'none'"
            )
        return self

    def _check_attention(self) -> None:
        if self.attention == "bahdanau" and self.n_layers > 1:
            raise ValueError(
                f"attention 'bahdanau' is RNNsearch, which has one layer, not {self.n_layers}; "
                "use attention = 'luong'"
            )
        if self.attention == "none" and (self.score or self.local or self.both_ways):
            raise ValueError("score, local and both_ways need attention = 'bahdanau' or 'luong'")
        if self.local is not None and self.attention != "luong":
            raise ValueError("local attention is luong's; use attention = 'luong'")
        if self.backwards and (self.attention != "none" or self.vector != "start"):
            raise ValueError("backwards needs attention = 'none' and vector = 'start'")

    def _check_used(self) -> None:
        """A key that nothing reads has its default, as it has where all of them were stored."""
        for key, is_read, needed in (
            ("input_feeding", self.attention == "luong", "attention = 'luong'"),
            ("reach", self.local is not None, "local = 'monotonic' or 'predictive'"),
            ("vector", self.attention == "none", "attention = 'none'"),
        ):
            if not is_read and self.model_dump()[key] != type(self).model_fields[key].default:
                raise ValueError(f"{key} does nothing without {needed}; leave it out")

    @property
    def embedding_width(self) -> int:
        """Of a token."""
        return self.d_embedding or self.d_model

    @property
    def reads_both_ways(self) -> bool:
        """Whether the encoder does."""
        return self.attention == "bahdanau" if self.both_ways is None else self.both_ways

    @property
    def alignment_score(self) -> ScoreName:
        """The one used, or the published."""
        return self.score or ("additive" if self.attention == "bahdanau" else "general")

    @property
    def said_width(self) -> int:
        """Of what the head reads."""
        has_maxout = self.attention == "bahdanau" or (
            self.attention == "none" and self.vector == "every_step"
        )
        return self.embedding_width if has_maxout else self.d_model

    def build(self) -> EncoderDecoder:
        """The network, initialized."""
        e = self.embedding_width
        target = nn.Embedding(self.vocab_size, e)
        source = (
            target
            if self.tied == "all"
            else nn.Embedding(self.source_vocab_size or self.vocab_size, e)
        )
        head = nn.Linear(self.said_width, self.vocab_size, bias=False)
        encoder, decoder = self._bodies()
        has_places = self.attention != "none" and self.alignment_score == "location"
        network = EncoderDecoder(
            TokenEmbedding(source, e**0.5),
            TokenEmbedding(target, e**0.5),
            encoder,
            decoder,
            head,
            max_length=self.max_length if has_places else None,
        )
        glorot(network)
        begin_well(network)
        if self.tied != "none":
            head.weight = target.weight
        return network

    def _bodies(self) -> tuple[Body, Body]:
        cell, widths = CELLS[self.cell], (self.embedding_width, self.d_model)
        if self.attention == "none" and self.vector == "start":
            encoder = StatesEncoder(
                cell, widths, self.n_layers, self.dropout, backwards=self.backwards
            )
            begin = Unpack(cell.n_states, self.n_layers)
            layers = self._layers(self.embedding_width)
            return encoder, VectorDecoder(
                layers, begin, PlainReadout(), self.dropout, rereads=False
            )
        reading = RecurrentEncoder(
            cell, widths, self.n_layers, self.dropout, both_ways=self.reads_both_ways
        )
        if self.attention == "none":
            decoder = VectorDecoder(
                self._layers(self.embedding_width + self.d_model),
                self._bridge(self.d_model),
                MaxoutReadout(2 * self.d_model + self.embedding_width, self.said_width),
                self.dropout,
                rereads=True,
            )
            return VectorEncoder(reading, self.d_model), decoder
        return reading, self._looking(cell)

    def _looking(self, cell: type[Cell]) -> Body:
        """A decoder with attention."""
        d, e = self.d_model, self.embedding_width
        d_memory = (1 + self.reads_both_ways) * d
        cross = Alignment(SCORES[self.alignment_score](d, d_memory, self.max_length), self._focus())
        begin = self._bridge(d_memory)
        if self.attention == "bahdanau":
            readout = MaxoutReadout(d + e + d_memory, self.said_width)
            return SearchDecoder(cell(e, d, d_memory), cross, begin, readout, self.dropout)
        said = TanhReadout(d_memory + d, d)
        if not self.input_feeding:
            return AfterDecoder(self._layers(e), cross, begin, said, self.dropout)
        above = [cell(d, d) for _ in range(self.n_layers - 1)]
        return FeedingDecoder([cell(e, d, d), *above], cross, begin, said, self.dropout)

    def _focus(self) -> Focus:
        if self.local == "monotonic":
            return Monotonic(self.reach)
        return Predictive(self.d_model, self.reach) if self.local else Everywhere()

    def _bridge(self, d_memory: int) -> Bridge:
        n_states = CELLS[self.cell].n_states * self.n_layers
        return Bridge(d_memory, self.d_model, n_states, both_ways=self.reads_both_ways)

    def _layers(self, d_input: int) -> nn.LSTM | nn.GRU:
        return CELLS[self.cell].fused(
            d_input,
            self.d_model,
            self.n_layers,
            batch_first=True,
            dropout=self.dropout if self.n_layers > 1 else 0.0,
        )
