"""BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), DistilBERT (Sanh et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import SegmentEmbedding, TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward
from sublayer.layers.head import MaskedHead, Pooler
from sublayer.layers.init import normal
from sublayer.layers.position import Learned
from sublayer.layers.residual import PostNorm
from sublayer.models.base import FAMILIES, Encoder, FamilyConfig, Fraction, check_heads
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    Reader,
    our_word,
    their_word,
    to_our_keys,
    to_their_keys,
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
    head: Literal["none", "masked", "masked_and_pairs"] = "masked_and_pairs"
    """What it is trained for: nothing yet, masked tokens, or pairs of texts as well."""
    pooler: bool = True
    """Whether there is a vector for the whole text; pairs need one."""
    tied: bool = True
    """Whether the masked head's matrix is the embedding table."""

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

    def build(self) -> Encoder:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        segments = nn.Embedding(self.n_segments, self.d_model) if self.n_segments else None
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            Learned(self.max_length, self.d_model, skipped=self.skipped_positions),
            dropout=self.dropout,
            entry=self._norm(),
        )
        act = ACTIVATIONS[self.activation]
        has_pairs = self.head == "masked_and_pairs"
        network = Encoder(
            TokenEmbedding(table) if segments is None else SegmentEmbedding(table, segments),
            stack,
            nn.Identity()
            if self.head == "none"
            else MaskedHead(self.d_model, self.vocab_size, act, norm_eps=self.norm_eps),
            Pooler(self.d_model) if self.pooler else nn.Identity(),
            nn.Linear(self.d_model, 2) if has_pairs else nn.Identity(),
            max_length=self.max_length,
        )
        normal(network)
        if self.tied and isinstance(network.head, MaskedHead):
            network.head.out.weight = table.weight
        return network

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
HF_HEADS = {"ForPreTraining": "masked_and_pairs", "ForMaskedLM": "masked", "Model": "none"}


def _reader(keys: Mapping[str, str], skipped: int) -> Reader:
    """From Hugging Face's `config.json` to our keys."""

    def read(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
        ours = to_our_keys(theirs, keys)
        act_key = "activation" if "activation" in theirs else "hidden_act"
        architecture = (theirs.get("architectures") or ["Model"])[0]
        found = re.fullmatch(r"[A-Za-z]*?(ForPreTraining|ForMaskedLM|Model)", architecture)
        if found is None:
            raise ValueError(f"architecture '{architecture}' is not known here")
        head = HF_HEADS[found[1]]
        # RoBERTa's and DistilBERT's masked models have no pooler, nor has BERT's
        is_bare = head == "none" and theirs["model_type"] != "distilbert"
        ours |= {
            "activation": our_word(HF_ACTIVATIONS, theirs, act_key, "gelu"),
            "head": head,
            "pooler": head == "masked_and_pairs" or is_bare,
            "skipped_positions": skipped,
        }
        ours["max_length"] -= skipped
        return {"n_segments": 0} | ours

    return read


def _writer(keys: Mapping[str, str]) -> Callable[[FamilyConfig], dict[str, Any]]:
    """From our keys to Hugging Face's `config.json`."""

    def write(config: FamilyConfig) -> dict[str, Any]:
        assert isinstance(config, BertConfig)
        words = {
            "activation": their_word(HF_ACTIVATIONS, config.activation),
            "max_length": config.max_length + config.skipped_positions,
        }
        theirs = to_their_keys(config, keys)
        return theirs | {key: words[own] for key, own in keys.items() if own in words}

    return write


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


def _kind(config: FamilyConfig) -> str | None:
    """Which of the three can hold a configuration."""
    assert isinstance(config, BertConfig)
    if config.n_segments == 0:
        return "distilbert"
    if not config.tied and config.head != "none":
        return None  # theirs then has a second bias that nothing reads: no way there and back
    return "roberta" if config.skipped_positions else "bert"


for _type, _name, _names, _keys, _skipped in (
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
            prefix=f"{_type}.",
            names=lambda config, table=_names: table,  # type: ignore[misc]
            constants=(r"embeddings\.position_ids",),
            outside=r"(cls|lm_head|vocab_transform|vocab_layer_norm|vocab_projector)\..*",
            read=_reader(_keys, _skipped),
            write=_writer(_keys),
            fits=lambda config, kind=_type: _kind(config) == kind,  # type: ignore[misc]
        )
    )
