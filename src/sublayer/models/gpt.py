"""GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners")."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.head import EveryToken, LastToken
from sublayer.layers.init import normal
from sublayer.layers.mask import Causal, Mask, Window
from sublayer.models.base import (
    FAMILIES,
    LABELS,
    Classifier,
    FamilyConfig,
    Fraction,
    LanguageModel,
    check_heads,
)
from sublayer.models.choices import (
    ActivationName,
    CausalScoreName,
    NormName,
    PartsConfig,
    PositionName,
)
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
@FAMILIES.add("gpt")
class GPTConfig(PartsConfig):
    """Keys of GPT-2; the defaults are the smallest published model's, of 124 million parameters."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 768
    n_layers: PositiveInt = 12
    n_heads: PositiveInt = 12
    d_ff: PositiveInt | None = None
    """None: 4 d_model."""
    max_length: PositiveInt = 1024
    """Longest sequence of learned positions; the others have no limit."""
    window: PositiveInt | None = None
    """Positions that a token sees, its own included; None: all before it."""
    dropout: Fraction = 0.1
    """On each sublayer's output and on the embeddings."""
    attention_dropout: Fraction = 0.1
    position: PositionName = "learned"
    norm: NormName = "pre"
    norm_eps: PositiveFloat = 1e-5
    activation: ActivationName = "gelu_tanh"
    score: CausalScoreName = "scaled_dot"
    tied: bool = True
    """Whether the language model's head is the embedding table."""
    head: Literal["lm", "classify", "tag", "answer"] = "lm"
    """What it is trained for: the next token; labels of texts, or of tokens; where in the text an
    answer starts and ends."""
    n_labels: PositiveInt = 2
    """Of texts or tokens."""
    head_dropout: Fraction | None = None
    """On what labels are read from; None: 0.1 for those of tokens, else none."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128, "n_layers": 4, "n_heads": 4, "max_length": 256},
        "small": {"d_model": 768, "n_layers": 12, "n_heads": 12},
        "medium": {"d_model": 1024, "n_layers": 24, "n_heads": 16},
        "large": {"d_model": 1280, "n_layers": 36, "n_heads": 20},
        "xl": {"d_model": 1600, "n_layers": 48, "n_heads": 25},
    }

    @model_validator(mode="after")
    def _fits(self) -> GPTConfig:
        check_heads(self.d_model, self.n_heads)
        self._check_parts()
        return self

    def build(self) -> LanguageModel | Classifier:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            self._scheme(both_ways=False),
            self._last_norm(),
            self.dropout,
        )
        is_lm = self.head == "lm"
        network = self._language_model(table, stack) if is_lm else self._classifier(table, stack)
        normal(network)
        for name, weight in stack.named_parameters():
            if name.endswith(("layer.out.weight", "layer.down.weight")):
                # each of 2 n_layers sublayers adds to the stream (Radford et al. 2019, section 2.3)
                nn.init.normal_(weight, std=0.02 / (2 * self.n_layers) ** 0.5)
        if self.tied and is_lm:
            network.head.weight = table.weight
        return network

    def _language_model(self, table: nn.Embedding, stack: Stack) -> LanguageModel:
        head = nn.Linear(self.d_model, self.vocab_size, bias=False)
        return LanguageModel(
            TokenEmbedding(table), stack, head, mask=self._mask(), max_length=self.bound
        )

    def _classifier(self, table: nn.Embedding, stack: Stack) -> Classifier:
        n_labels = 2 if self.head == "answer" else self.n_labels
        return Classifier(
            TokenEmbedding(table),
            stack,
            LastToken() if self.head == "classify" else EveryToken(),
            nn.Linear(self.d_model, n_labels, bias=self.head != "classify"),
            mask=self._mask(),
            dropout=self.labels_dropout,
            max_length=self.bound,
        )

    @property
    def labels_dropout(self) -> float:
        """On what labels are read from."""
        if self.head_dropout is not None:
            return self.head_dropout
        return 0.1 if self.head == "tag" else 0.0

    def _mask(self) -> Mask:
        return Causal() if self.window is None else Causal() & Window(self.window)

    def _block(self) -> Block:
        attention = SelfAttention(self.d_model, self.n_heads, attend=self._attend())
        feedforward = self._feedforward(self.d_ff or 4 * self.d_model)
        return Block(self._residual(attention), self._residual(feedforward))


HF_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}
HF_KEYS: dict[str, str] = {
    "vocab_size": "vocab_size",
    "n_embd": "d_model",
    "n_layer": "n_layers",
    "n_head": "n_heads",
    "n_inner": "d_ff",
    "n_positions": "max_length",
    "resid_pdrop": "dropout",
    "attn_pdrop": "attention_dropout",
    "layer_norm_epsilon": "norm_eps",
    "tie_word_embeddings": "tied",
}
HF_HEADS = {
    "GPT2LMHeadModel": "lm",
    "GPT2ForSequenceClassification": "classify",
    "GPT2ForTokenClassification": "tag",
    "GPT2ForQuestionAnswering": "answer",
}

ONLY = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
"""Keys of theirs that have one value here."""


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json` as our keys."""
    act = our_word(HF_ACTIVATIONS, theirs, "activation_function", "gelu_new")
    head = HF_HEADS[known_architecture(theirs, list(HF_HEADS))]
    refuse_others(theirs, ONLY)
    ours = to_our_keys(theirs, HF_KEYS) | {"activation": act, "head": head}
    if head in LABELS:
        ours |= {
            "n_labels": read_n_labels(theirs),
            "head_dropout": theirs.get("classifier_dropout"),
        }
    return ours


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`."""
    assert isinstance(config, GPTConfig)
    theirs = to_their_keys(config, HF_KEYS) | {
        "activation_function": their_word(HF_ACTIVATIONS, config.activation),
        "embd_pdrop": config.dropout,
    }
    if config.head in LABELS:
        theirs |= {**write_labels(config.n_labels), "classifier_dropout": config.head_dropout}
    return theirs


def _architecture(config: FamilyConfig) -> str:
    assert isinstance(config, GPTConfig)
    return {own: their for their, own in HF_HEADS.items()}[config.head]


def _layer(theirs: str, *ours: str) -> list[Rule]:
    """A layer of transposed weight, as GPT-2's are stored."""
    return [
        Rule(f"{theirs}.weight", *(f"{x}.weight" for x in ours), transposed=True),
        Rule(f"{theirs}.bias", *(f"{x}.bias" for x in ours)),
    ]


_OURS = "stack.blocks.{i}"
NAMES: list[Rule] = [
    Rule("wte.weight", "embed.table.weight"),
    Rule("wpe.weight", "stack.position.table.weight"),
    Rule("ln_f.{p}", "stack.norm.{p}"),
    Rule("h.{i}.ln_1.{p}", f"{_OURS}.attention.norm.{{p}}"),
    Rule("h.{i}.ln_2.{p}", f"{_OURS}.feedforward.norm.{{p}}"),
    *_layer("h.{i}.attn.c_attn", *(f"{_OURS}.attention.layer.{x}" for x in "qkv")),
    *_layer("h.{i}.attn.c_proj", f"{_OURS}.attention.layer.out"),
    *_layer("h.{i}.mlp.c_fc", f"{_OURS}.feedforward.layer.up"),
    *_layer("h.{i}.mlp.c_proj", f"{_OURS}.feedforward.layer.down"),
]
HEADS: dict[str, Rule] = {
    "lm": Rule("lm_head.weight", "head.weight"),
    "classify": Rule("score.weight", "head.weight"),
    "tag": Rule("classifier.{p}", "head.{p}"),
    "answer": Rule("qa_outputs.{p}", "head.{p}"),
}


def _names(config: FamilyConfig) -> list[Rule]:
    assert isinstance(config, GPTConfig)
    return [*NAMES, HEADS[config.head]]


def _departs(config: FamilyConfig) -> list[str]:
    assert isinstance(config, GPTConfig)
    window = [] if config.window is None else [f"window = {config.window}"]
    return window + config.departures()


CONVENTIONS.add("gpt2")(
    Convention(
        family="gpt",
        model_type="gpt2",
        architecture=_architecture,
        prefix="transformer.",
        names=_names,
        outside=r"(lm_head|score|classifier|qa_outputs)\..*",
        constants=(r"h\.\d+\.attn\.(bias|masked_bias)",),
        read=read_config,
        write=write_config,
        departs=_departs,
    )
)
