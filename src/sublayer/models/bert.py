"""BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), DistilBERT (Sanh et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from functools import partial
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import SegmentEmbedding, TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS
from sublayer.layers.head import EveryToken, MaskedHead, Pooler
from sublayer.layers.init import normal
from sublayer.layers.position import Learned, Position
from sublayer.models.base import (
    FAMILIES,
    LABELS,
    Classifier,
    Encoder,
    FamilyConfig,
    Fraction,
    check_heads,
)
from sublayer.models.bert_names import (
    ANSWERS,
    BERT,
    CLASSES,
    DISTIL_DROPOUTS,
    DISTILBERT,
    HF_ACTIVATIONS,
    HF_BERT,
    HF_CLASSIFIERS,
    HF_DISTILBERT,
    HF_HEADS,
    ONLY,
    ROBERTA,
    TAGS,
)
from sublayer.models.choices import ActivationName, NormName, PartsConfig, PositionName
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    Reader,
    known_architecture,
    needed_number,
    our_word,
    read_n_labels,
    refuse_others,
    their_word,
    to_our_keys,
    to_their_keys,
    write_labels,
)
from sublayer.models.names import Rule


@final
@FAMILIES.add("bert")
class BertConfig(PartsConfig):
    """Keys of BERT and what differs from it in numbers; the defaults are BERT base's."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 768
    n_layers: PositiveInt = 12
    n_heads: PositiveInt = 12
    d_ff: PositiveInt = 3072
    max_length: PositiveInt = 512
    """Longest sequence of learned positions and of the location score; the others have no limit."""
    n_segments: NonNegativeInt = 2
    """Kinds of segments; 0 for none (DistilBERT)."""
    skipped_positions: NonNegativeInt = 0
    """Rows of the position table that are nobody's: 2 in RoBERTa."""
    dropout: Fraction = 0.1
    attention_dropout: Fraction = 0.1
    position: PositionName = "learned"
    norm: NormName = "post"
    norm_eps: PositiveFloat = 1e-12
    activation: ActivationName = "gelu"
    head: Literal["none", "masked", "masked_and_pairs", "classify", "tag", "answer"] = (
        "masked_and_pairs"
    )
    """What it is trained for: nothing yet, masked tokens, or pairs of texts as well; labels of
    texts, or of tokens; where in the text an answer starts and ends."""
    pooler: bool = True
    """Whether there is a vector for the whole text; pairs need one, and labels have their own."""
    tied: bool = True
    """Whether the masked head's matrix is the embedding table."""
    n_labels: PositiveInt = 2
    """Of texts or tokens."""
    classifier: Literal["tanh", "dropout_tanh", "relu"] = "tanh"
    """What of the first token a text's labels are read from: a layer with tanh (BERT), with dropout
    before it too (RoBERTa), a layer with ReLU (DistilBERT)."""
    head_dropout: Fraction | None = None
    """On what labels are read from; None: as `dropout`, and none for answers."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128, "n_layers": 2, "n_heads": 2, "d_ff": 512},
        "mini": {"d_model": 256, "n_layers": 4, "n_heads": 4, "d_ff": 1024},
        "small": {"d_model": 512, "n_layers": 4, "n_heads": 8, "d_ff": 2048},
        "base": {},
        "large": {"d_model": 1024, "n_layers": 24, "n_heads": 16, "d_ff": 4096},
    }

    @model_validator(mode="after")
    def _fits(self) -> BertConfig:
        check_heads(self.d_model, self.n_heads)
        self._check_parts()
        if self.skipped_positions and self.position != "learned":
            raise ValueError(
                "skipped_positions are rows of learned positions, and position = "
                f"'{self.position}' has none; leave one out"
            )
        if self.head == "masked_and_pairs" and not self.pooler:
            raise ValueError("head = 'masked_and_pairs' needs pooler = true")
        return self

    def build(self) -> Encoder | Classifier:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        segments = nn.Embedding(self.n_segments, self.d_model) if self.n_segments else None
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            self._scheme(both_ways=True),
            self._last_norm(),
            self.dropout,
            entry=self._norm(),
        )
        embed = TokenEmbedding(table) if segments is None else SegmentEmbedding(table, segments)
        network = (
            self._classifier(embed, stack) if self.head in LABELS else self._encoder(embed, stack)
        )
        normal(network)
        if self.tied and isinstance(network.head, MaskedHead):
            network.head.out.weight = table.weight
        return network

    def _encoder(self, embed: nn.Module, stack: Stack) -> Encoder:
        act = ACTIVATIONS[self.activation]
        has_pairs = self.head == "masked_and_pairs"
        return Encoder(
            embed,
            stack,
            nn.Identity()
            if self.head == "none"
            else MaskedHead(self.d_model, self.vocab_size, act, norm_eps=self.norm_eps),
            Pooler(self.d_model) if self.pooler else nn.Identity(),
            nn.Linear(self.d_model, 2) if has_pairs else nn.Identity(),
            max_length=self.bound,
        )

    def _classifier(self, embed: nn.Module, stack: Stack) -> Classifier:
        dropout = self.labels_dropout
        pooler: nn.Module = EveryToken()
        if self.head == "classify":
            act = ACTIVATIONS["relu"] if self.classifier == "relu" else torch.tanh
            before = dropout if self.classifier == "dropout_tanh" else 0.0
            pooler = Pooler(self.d_model, act, dropout=before)
        return Classifier(
            embed,
            stack,
            pooler,
            nn.Linear(self.d_model, 2 if self.head == "answer" else self.n_labels),
            dropout=dropout,
            max_length=self.bound,
        )

    @property
    def labels_dropout(self) -> float:
        """On what labels are read from."""
        if self.head_dropout is not None:
            return self.head_dropout
        return 0.0 if self.head == "answer" else self.dropout

    def _scheme(self, *, both_ways: bool) -> Position:
        if self.position != "learned":
            return super()._scheme(both_ways=both_ways)
        return Learned(self.max_length, self.d_model, skipped=self.skipped_positions)

    def _block(self) -> Block:
        attention = SelfAttention(self.d_model, self.n_heads, attend=self._attend())
        return Block(self._residual(attention), self._residual(self._feedforward(self.d_ff)))


def _reader(keys: Mapping[str, str], name: str) -> Reader:
    """From Hugging Face's `config.json` to our keys."""

    def read(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
        refuse_others(theirs, ONLY)
        ours = to_our_keys(theirs, keys)
        # RoBERTa's positions are counted from behind its padding
        skipped = 1 + needed_number({"pad_token_id": 1, **theirs}, "pad_token_id")
        skipped = skipped if name == "Roberta" else 0
        act_key = "activation" if "activation" in theirs else "hidden_act"
        head = _read_head(theirs, tensors, name)
        ours |= {
            "max_length": needed_number(theirs, "max_position_embeddings") - skipped,
            "activation": our_word(HF_ACTIVATIONS, theirs, act_key, "gelu"),
            "head": head,
            "pooler": "pooler.dense.weight" in tensors and head not in LABELS,
            "skipped_positions": skipped,
            "classifier": HF_CLASSIFIERS[theirs["model_type"]],
        }
        if head in LABELS:
            ours |= {"n_labels": read_n_labels(theirs), "head_dropout": _read_dropout(theirs, head)}
        return {"n_segments": 0} | ours

    return read


def _read_head(theirs: Mapping[str, Any], tensors: Set[str], name: str) -> str:
    architecture = known_architecture(theirs, [name + end for end in HF_HEADS])
    head = HF_HEADS[architecture.removeprefix(name)]
    # published folders may hold more than the class that they name: bert-base-uncased does
    has_pairs = head == "masked" and "cls.seq_relationship.weight" in tensors
    return "masked_and_pairs" if has_pairs else head


def _read_dropout(theirs: Mapping[str, Any], head: str) -> float | None:
    if theirs["model_type"] != "distilbert":
        return None if head == "answer" else theirs.get("classifier_dropout")
    key, default = DISTIL_DROPOUTS.get(head, ("", None))
    return theirs.get(key, default)


def _writer(keys: Mapping[str, str]) -> Callable[[FamilyConfig], dict[str, Any]]:
    """From our keys to Hugging Face's `config.json`."""

    def write(config: FamilyConfig) -> dict[str, Any]:
        assert isinstance(config, BertConfig)
        words = {
            "activation": their_word(HF_ACTIVATIONS, config.activation),
            "max_length": config.max_length + config.skipped_positions,
        }
        theirs = to_their_keys(config, keys)
        theirs |= {key: words[own] for key, own in keys.items() if own in words}
        theirs |= {} if _pad(config) is None else {"pad_token_id": _pad(config)}
        return theirs | (_write_labels(config) if config.head in LABELS else {})

    return write


def _write_labels(config: BertConfig) -> dict[str, Any]:
    theirs = write_labels(2 if config.head == "answer" else config.n_labels)
    if config.n_segments:
        return theirs | {"classifier_dropout": config.head_dropout}
    if config.head in DISTIL_DROPOUTS:
        theirs[DISTIL_DROPOUTS[config.head][0]] = config.labels_dropout
    return theirs


def _architecture(name: str) -> Callable[[FamilyConfig], str]:
    """The class of transformers for a configuration."""

    def of(config: FamilyConfig) -> str:
        assert isinstance(config, BertConfig)
        return name + {own: their for their, own in HF_HEADS.items()}[config.head]

    return of


def _names(table: list[Rule]) -> Callable[[FamilyConfig], list[Rule]]:
    """The table, after the names of the head if that is one for labels."""

    def of(config: FamilyConfig) -> list[Rule]:
        assert isinstance(config, BertConfig)
        heads = {"classify": CLASSES[config.classifier], "tag": TAGS, "answer": ANSWERS}
        return [*heads.get(config.head, []), *table]

    return of


def _unused(config: FamilyConfig) -> list[str]:
    assert isinstance(config, BertConfig)
    is_read = config.head == "classify" and config.classifier == "tanh"
    pooler = [r"pooler\..*"] if config.head in LABELS and not is_read else []
    return pooler if config.tied else [*pooler, r"cls\.predictions\.bias", r"lm_head\.bias"]


def _pad(config: FamilyConfig) -> int | None:
    assert isinstance(config, BertConfig)
    return config.skipped_positions - 1 if config.skipped_positions else None


def _departs(config: FamilyConfig, kind: str) -> list[str]:
    """What a model type of the three cannot hold."""
    assert isinstance(config, BertConfig)
    is_masked = config.head in {"masked", "masked_and_pairs"}
    has_skipped = "roberta" if config.skipped_positions else "bert"
    is_other = kind != ("distilbert" if config.n_segments == 0 else has_skipped)
    others = {
        f"n_segments = {config.n_segments}": is_other,
        f"skipped_positions = {config.skipped_positions}": is_other,
        # theirs then has a second bias that nothing reads: no way there and back
        "tied = false": not config.tied and is_masked and kind != "distilbert",
        f"classifier = '{config.classifier}'": config.head == "classify"
        and config.classifier != HF_CLASSIFIERS[kind],
        "head = 'masked_and_pairs'": config.head == "masked_and_pairs" and kind != "bert",
        "pooler = true": config.pooler
        and config.head in {"none", "masked"}
        and kind == "distilbert",
    }
    return config.departures() + [told for told, is_so in others.items() if is_so]


for _type, _name, _table, _keys in (
    ("bert", "Bert", BERT, HF_BERT),
    ("roberta", "Roberta", ROBERTA, HF_BERT),
    ("distilbert", "DistilBert", DISTILBERT, HF_DISTILBERT),
):
    CONVENTIONS.add(_type)(
        Convention(
            family="bert",
            model_type=_type,
            architecture=_architecture(_name),
            bare=f"{_name}Model",
            pad=_pad,
            prefix=f"{_type}.",
            names=_names(_table),
            constants=(r"embeddings\.position_ids",),
            unused=_unused,
            outside=r"(cls|lm_head|vocab_\w+|(pre_)?classifier|qa_outputs)\..*",
            read=_reader(_keys, _name),
            write=_writer(_keys),
            departs=partial(_departs, kind=_type),
        )
    )
