"""ALBERT (Lan et al. 2020): narrow embeddings, one block for all layers, sentence order."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.dropout import Dropout
from sublayer.layers.embedding import SegmentEmbedding
from sublayer.layers.feedforward import ACTIVATIONS
from sublayer.layers.head import EveryToken, MaskedHead, Pooler
from sublayer.layers.init import normal
from sublayer.models.base import (
    FAMILIES,
    LABELS,
    Classifier,
    Encoder,
    FamilyConfig,
    Fraction,
    check_heads,
)
from sublayer.models.choices import ActivationName, NormName, PartsConfig, PositionName
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    known_architecture,
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
@FAMILIES.add("albert")
class AlbertConfig(PartsConfig):
    """Keys of ALBERT; the defaults are those of its base model, version 2."""

    vocab_size: PositiveInt
    d_embedding: PositiveInt = 128
    """Width of the embedding tables, from which one matrix leads to d_model (section 3.1)."""
    d_model: PositiveInt = 768
    rounds: PositiveInt = 12
    """How often the one block is gone through."""
    n_heads: PositiveInt = 12
    d_ff: PositiveInt = 3072
    max_length: PositiveInt = 512
    """Longest sequence of learned positions and of the location score; the others have no limit."""
    n_segments: PositiveInt = 2
    dropout: Fraction = 0.0
    attention_dropout: Fraction = 0.0
    position: PositionName = "learned"
    """Those that are added are as wide as the embeddings."""
    norm: NormName = "post"
    norm_eps: PositiveFloat = 1e-12
    activation: ActivationName = "gelu_tanh"
    head: Literal["none", "masked", "masked_and_pairs", "classify", "tag", "answer"] = (
        "masked_and_pairs"
    )
    """What it is trained for: nothing yet, masked tokens, or the order of texts as well; labels of
    texts, or of tokens; where in the text an answer starts and ends."""
    pooler: bool = True
    """Whether there is a vector for the whole text; the order of texts needs one, and labels have
    their own."""
    n_labels: PositiveInt = 2
    """Of texts or tokens."""
    head_dropout: Fraction | None = None
    """On what labels are read from; None: 0.1, and none for answers."""

    SIZES: ClassVar = {
        "tiny": {"d_embedding": 64, "d_model": 128, "rounds": 3, "n_heads": 2, "d_ff": 512},
        "base": {},
        "large": {"d_model": 1024, "rounds": 24, "n_heads": 16, "d_ff": 4096},
        "xlarge": {"d_model": 2048, "rounds": 24, "n_heads": 16, "d_ff": 8192},
        "xxlarge": {"d_model": 4096, "rounds": 12, "n_heads": 64, "d_ff": 16384},
    }

    @model_validator(mode="after")
    def _fits(self) -> AlbertConfig:
        check_heads(self.d_model, self.n_heads)
        self._check_parts()
        if self.head == "masked_and_pairs" and not self.pooler:
            raise ValueError("head = 'masked_and_pairs' needs pooler = true")
        return self

    @property
    def d_added(self) -> int:
        """Width of the embeddings that positions are added to."""
        return self.d_embedding

    def build(self) -> Encoder | Classifier:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_embedding)
        entry = nn.Sequential(
            self._norm(self.d_embedding),
            Dropout(self.dropout),
            nn.Linear(self.d_embedding, self.d_model),
        )
        stack = Stack(
            [self._block()],
            self._scheme(both_ways=True),
            self._last_norm(),
            entry=entry,
            rounds=self.rounds,
        )
        embed = SegmentEmbedding(table, nn.Embedding(self.n_segments, self.d_embedding))
        network = (
            self._classifier(embed, stack) if self.head in LABELS else self._encoder(embed, stack)
        )
        normal(network)
        if isinstance(network.head, MaskedHead):
            network.head.out.weight = table.weight
        return network

    def _encoder(self, embed: nn.Module, stack: Stack) -> Encoder:
        head: nn.Module = nn.Identity()
        if self.head != "none":
            head = MaskedHead(
                self.d_model,
                self.vocab_size,
                ACTIVATIONS[self.activation],
                d_out=self.d_embedding,
                norm_eps=self.norm_eps,
            )
        has_pairs = self.head == "masked_and_pairs"
        return Encoder(
            embed,
            stack,
            head,
            Pooler(self.d_model) if self.pooler else nn.Identity(),
            nn.Linear(self.d_model, 2) if has_pairs else nn.Identity(),
            max_length=self.bound,
        )

    def _classifier(self, embed: nn.Module, stack: Stack) -> Classifier:
        return Classifier(
            embed,
            stack,
            Pooler(self.d_model) if self.head == "classify" else EveryToken(),
            nn.Linear(self.d_model, 2 if self.head == "answer" else self.n_labels),
            dropout=self.labels_dropout,
            max_length=self.bound,
        )

    @property
    def labels_dropout(self) -> float:
        """On what labels are read from."""
        if self.head_dropout is not None:
            return self.head_dropout
        return 0.0 if self.head == "answer" else 0.1

    def _block(self) -> Block:
        attention = SelfAttention(self.d_model, self.n_heads, attend=self._attend())
        return Block(self._residual(attention), self._residual(self._feedforward(self.d_ff)))


HF_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "silu": "silu"}
HF_KEYS: dict[str, str] = {
    "vocab_size": "vocab_size",
    "embedding_size": "d_embedding",
    "hidden_size": "d_model",
    "num_hidden_layers": "rounds",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_length",
    "type_vocab_size": "n_segments",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "norm_eps",
}
HF_HEADS = {
    "AlbertModel": "none",
    "AlbertForPreTraining": "masked_and_pairs",
    "AlbertForMaskedLM": "masked",
    "AlbertForSequenceClassification": "classify",
    "AlbertForTokenClassification": "tag",
    "AlbertForQuestionAnswering": "answer",
}


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json` as our keys."""
    for key in ("num_hidden_groups", "inner_group_num"):
        if theirs.get(key, 1) != 1:
            raise ValueError(f"{key} {theirs[key]} is not supported: one block for all layers")
    act = our_word(HF_ACTIVATIONS, theirs, "hidden_act", "gelu_new")
    refuse_others(theirs, {"position_embedding_type": "absolute"})
    head = HF_HEADS[known_architecture(theirs, list(HF_HEADS))]
    if head == "masked" and "sop_classifier.classifier.weight" in tensors:
        head = "masked_and_pairs"  # published folders may hold more than the class that they name
    ours = to_our_keys(theirs, HF_KEYS) | {
        "activation": act,
        "head": head,
        "pooler": "pooler.weight" in tensors and head not in LABELS,
    }
    if head in LABELS:
        ours |= {"n_labels": read_n_labels(theirs), "head_dropout": _read_dropout(theirs, head)}
    return ours


def _read_dropout(theirs: Mapping[str, Any], head: str) -> float | None:
    return None if head == "answer" else theirs.get("classifier_dropout_prob", 0.1)


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`."""
    assert isinstance(config, AlbertConfig)
    theirs = to_their_keys(config, HF_KEYS)
    theirs |= {"hidden_act": their_word(HF_ACTIVATIONS, config.activation)}
    if config.head not in LABELS:
        return theirs
    labels = write_labels(2 if config.head == "answer" else config.n_labels)
    return theirs | labels | {"classifier_dropout_prob": config.labels_dropout}


def _architecture(config: FamilyConfig) -> str:
    assert isinstance(config, AlbertConfig)
    return {own: their for their, own in HF_HEADS.items()}[config.head]


_THEIRS = "encoder.albert_layer_groups.0.albert_layers.0"
NAMES: list[Rule] = [
    Rule("embeddings.word_embeddings.weight", "embed.table.weight"),
    Rule("embeddings.position_embeddings.weight", "stack.position.table.weight"),
    Rule("embeddings.token_type_embeddings.weight", "embed.segments.weight"),
    Rule("embeddings.LayerNorm.{p}", "stack.entry.0.{p}"),
    Rule("encoder.embedding_hidden_mapping_in.{p}", "stack.entry.2.{p}"),
    *(
        Rule(f"{_THEIRS}.{their}.{{p}}", f"stack.blocks.0.{own}.{{p}}")
        for their, own in {
            "attention.query": "attention.layer.q",
            "attention.key": "attention.layer.k",
            "attention.value": "attention.layer.v",
            "attention.dense": "attention.layer.out",
            "attention.LayerNorm": "attention.norm",
            "ffn": "feedforward.layer.up",
            "ffn_output": "feedforward.layer.down",
            "full_layer_layer_norm": "feedforward.norm",
        }.items()
    ),
    Rule("pooler.{p}", "pooler.dense.{p}"),
    Rule("predictions.dense.{p}", "head.dense.{p}"),
    Rule("predictions.LayerNorm.{p}", "head.norm.{p}"),
    Rule("predictions.bias", "head.out.bias"),
    Rule("predictions.decoder.{p}", "head.out.{p}"),
    Rule("sop_classifier.classifier.{p}", "pair_head.{p}"),
]
TAGS: list[Rule] = [Rule("classifier.{p}", "head.{p}")]
HEADS: dict[str, list[Rule]] = {
    "classify": TAGS,
    "tag": TAGS,
    "answer": [Rule("qa_outputs.{p}", "head.{p}")],
}


def _names(config: FamilyConfig) -> list[Rule]:
    assert isinstance(config, AlbertConfig)
    return [*HEADS.get(config.head, []), *NAMES]


def _departs(config: FamilyConfig) -> list[str]:
    assert isinstance(config, AlbertConfig)
    return config.departures()


def _unused(config: FamilyConfig) -> list[str]:
    assert isinstance(config, AlbertConfig)
    return [r"pooler\..*"] if config.head in {"tag", "answer"} else []


CONVENTIONS.add("albert")(
    Convention(
        family="albert",
        model_type="albert",
        architecture=_architecture,
        bare="AlbertModel",
        prefix="albert.",
        names=_names,
        unused=_unused,
        constants=(r"embeddings\.position_ids",),
        outside=r"(predictions|sop_classifier|classifier|qa_outputs)\..*",
        read=read_config,
        write=write_config,
        departs=_departs,
    )
)
