"""BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), DistilBERT (Sanh et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import SegmentEmbedding, TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward
from sublayer.layers.head import EveryToken, MaskedHead, Pooler
from sublayer.layers.init import normal
from sublayer.layers.position import Learned
from sublayer.layers.residual import PostNorm
from sublayer.models.base import (
    FAMILIES,
    LABELS,
    Classifier,
    Encoder,
    FamilyConfig,
    Fraction,
    check_heads,
)
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    Reader,
    architecture_of,
    our_word,
    read_n_labels,
    their_word,
    to_our_keys,
    to_their_keys,
    write_labels,
)
from sublayer.models.names import Rule


@final
@FAMILIES.add("bert")
class BertConfig(FamilyConfig):
    """Keys of BERT and what differs from it in numbers; the defaults are BERT base's."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 768
    n_layers: PositiveInt = 12
    n_heads: PositiveInt = 12
    d_ff: PositiveInt = 3072
    max_length: PositiveInt = 512
    n_segments: NonNegativeInt = 2
    """Kinds of segments; 0 for none (DistilBERT)."""
    skipped_positions: NonNegativeInt = 0
    """Rows of the position table that are nobody's: 2 in RoBERTa."""
    dropout: Fraction = 0.1
    attention_dropout: Fraction = 0.1
    norm_eps: PositiveFloat = 1e-12
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
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
        if self.head == "masked_and_pairs" and not self.pooler:
            raise ValueError("head = 'masked_and_pairs' needs pooler = true")
        return self

    def build(self) -> Encoder | Classifier:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        segments = nn.Embedding(self.n_segments, self.d_model) if self.n_segments else None
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            Learned(self.max_length, self.d_model, skipped=self.skipped_positions),
            dropout=self.dropout,
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
            max_length=self.max_length,
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
            max_length=self.max_length,
        )

    @property
    def labels_dropout(self) -> float:
        """On what labels are read from."""
        if self.head_dropout is not None:
            return self.head_dropout
        return 0.0 if self.head == "answer" else self.dropout

    def _norm(self) -> nn.Module:
        return nn.LayerNorm(self.d_model, eps=self.norm_eps)

    def _block(self) -> Block:
        attention = SelfAttention(
            self.d_model, self.n_heads, attend=Dense(dropout=self.attention_dropout)
        )
        feedforward = FeedForward(self.d_model, self.d_ff, ACTIVATIONS[self.activation])
        return Block(
            PostNorm(attention, self._norm(), self.dropout),
            PostNorm(feedforward, self._norm(), self.dropout),
        )


HF_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}
HF_BERT: dict[str, str] = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_length",
    "type_vocab_size": "n_segments",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "norm_eps",
    "hidden_act": "activation",
    "tie_word_embeddings": "tied",
}
HF_DISTILBERT: dict[str, str] = {
    "vocab_size": "vocab_size",
    "dim": "d_model",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "hidden_dim": "d_ff",
    "max_position_embeddings": "max_length",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation": "activation",
    "tie_word_embeddings": "tied",
}
HF_HEADS = {
    "ForPreTraining": "masked_and_pairs",
    "ForMaskedLM": "masked",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
    "Model": "none",
}
HF_CLASSIFIERS = {"bert": "tanh", "roberta": "dropout_tanh", "distilbert": "relu"}
DISTIL_DROPOUTS = {"classify": ("seq_classif_dropout", 0.2), "answer": ("qa_dropout", 0.1)}
"""DistilBERT's keys for `head_dropout`, and what holds without them."""


def _reader(keys: Mapping[str, str], skipped: int) -> Reader:
    """From Hugging Face's `config.json` to our keys."""

    def read(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
        ours = to_our_keys(theirs, keys)
        act_key = "activation" if "activation" in theirs else "hidden_act"
        head = _read_head(theirs, tensors)
        ours |= {
            "activation": our_word(HF_ACTIVATIONS, theirs, act_key, "gelu"),
            "head": head,
            "pooler": "pooler.dense.weight" in tensors and head not in LABELS,
            "skipped_positions": skipped,
        }
        ours["max_length"] -= skipped
        if head in LABELS:
            ours |= {"n_labels": read_n_labels(theirs), "head_dropout": _read_dropout(theirs, head)}
        if head == "classify":
            ours["classifier"] = HF_CLASSIFIERS[theirs["model_type"]]
        return {"n_segments": 0} | ours

    return read


def _read_head(theirs: Mapping[str, Any], tensors: Set[str]) -> str:
    architecture = architecture_of(theirs, "Model")
    found = re.fullmatch(rf"[A-Za-z]*?({'|'.join(HF_HEADS)})", architecture)
    if found is None:
        raise ValueError(f"architecture '{architecture}' is not known here")
    head = HF_HEADS[found[1]]
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


def _block_names(theirs: str, names: Mapping[str, str]) -> list[Rule]:
    return [Rule(f"{theirs}.{t}.{{p}}", f"stack.blocks.{{i}}.{o}.{{p}}") for t, o in names.items()]


BODY: list[Rule] = [
    Rule("embeddings.word_embeddings.weight", "embed.table.weight"),
    Rule("embeddings.position_embeddings.weight", "stack.position.table.weight"),
    Rule("embeddings.token_type_embeddings.weight", "embed.segments.weight"),
    Rule("embeddings.LayerNorm.{p}", "stack.entry.{p}"),
    Rule("pooler.dense.{p}", "pooler.dense.{p}"),
    *_block_names(
        "encoder.layer.{i}",
        {
            "attention.self.query": "attention.layer.q",
            "attention.self.key": "attention.layer.k",
            "attention.self.value": "attention.layer.v",
            "attention.output.dense": "attention.layer.out",
            "attention.output.LayerNorm": "attention.norm",
            "intermediate.dense": "feedforward.layer.up",
            "output.dense": "feedforward.layer.down",
            "output.LayerNorm": "feedforward.norm",
        },
    ),
]
BERT: list[Rule] = [
    *BODY,
    Rule("cls.predictions.transform.dense.{p}", "head.dense.{p}"),
    Rule("cls.predictions.transform.LayerNorm.{p}", "head.norm.{p}"),
    Rule("cls.predictions.bias", "head.out.bias"),
    Rule("cls.predictions.decoder.{p}", "head.out.{p}"),
    Rule("cls.seq_relationship.{p}", "pair_head.{p}"),
]
ROBERTA: list[Rule] = [
    *BODY,
    Rule("lm_head.dense.{p}", "head.dense.{p}"),
    Rule("lm_head.layer_norm.{p}", "head.norm.{p}"),
    Rule("lm_head.bias", "head.out.bias"),
    Rule("lm_head.decoder.{p}", "head.out.{p}"),
]
DISTILBERT: list[Rule] = [
    *BODY[:4],
    *_block_names(
        "transformer.layer.{i}",
        {f"attention.{x}_lin": f"attention.layer.{x}" for x in ("q", "k", "v", "out")}
        | {
            "sa_layer_norm": "attention.norm",
            "ffn.lin1": "feedforward.layer.up",
            "ffn.lin2": "feedforward.layer.down",
            "output_layer_norm": "feedforward.norm",
        },
    ),
    Rule("vocab_transform.{p}", "head.dense.{p}"),
    Rule("vocab_layer_norm.{p}", "head.norm.{p}"),
    Rule("vocab_projector.{p}", "head.out.{p}"),
]
TAGS: list[Rule] = [Rule("classifier.{p}", "head.{p}")]
ANSWERS: list[Rule] = [Rule("qa_outputs.{p}", "head.{p}")]
CLASSES: dict[str, list[Rule]] = {
    "tanh": TAGS,
    "dropout_tanh": [
        Rule("classifier.dense.{p}", "pooler.dense.{p}"),
        Rule("classifier.out_proj.{p}", "head.{p}"),
    ],
    "relu": [Rule("pre_classifier.{p}", "pooler.dense.{p}"), *TAGS],
}


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
    return [r"pooler\..*"] if config.head in LABELS and not is_read else []


def _kind(config: FamilyConfig) -> str | None:
    """Which of the three can hold a configuration."""
    assert isinstance(config, BertConfig)
    kind = "roberta" if config.skipped_positions else "bert"
    if config.n_segments == 0:
        kind = "distilbert"
    elif not config.tied and config.head in {"masked", "masked_and_pairs"}:
        return None  # theirs then has a second bias that nothing reads: no way there and back
    is_others = config.head == "classify" and config.classifier != HF_CLASSIFIERS[kind]
    return None if is_others or (config.head == "masked_and_pairs" and kind != "bert") else kind


for _type, _name, _table, _keys, _skipped in (
    ("bert", "Bert", BERT, HF_BERT, 0),
    ("roberta", "Roberta", ROBERTA, HF_BERT, 2),
    ("distilbert", "DistilBert", DISTILBERT, HF_DISTILBERT, 0),
):
    CONVENTIONS.add(_type)(
        Convention(
            family="bert",
            model_type=_type,
            architecture=_architecture(_name),
            bare=f"{_name}Model",
            pad=_skipped - 1 if _skipped else None,
            prefix=f"{_type}.",
            names=_names(_table),
            constants=(r"embeddings\.position_ids",),
            unused=_unused,
            outside=r"(cls|lm_head|vocab_\w+|(pre_)?classifier|qa_outputs)\..*",
            read=_reader(_keys, _skipped),
            write=_writer(_keys),
            fits=lambda config, kind=_type: _kind(config) == kind,  # type: ignore[misc]
        )
    )
