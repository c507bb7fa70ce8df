"""Llama (Touvron et al. 2023) and what is built alike: Llama 2 and 3, Mistral, Qwen2, SmolLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers import rotary
from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.head import EveryToken, LastToken
from sublayer.layers.init import normal
from sublayer.layers.mask import Causal, Mask, Window
from sublayer.layers.position import Position
from sublayer.layers.rotary import Rotary
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
    NormKind,
    NormName,
    PartsConfig,
    PositionName,
)
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
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
from sublayer.models.rope import Scaling, read_scaling, write_scaling


@final
@FAMILIES.add("llama")
class LlamaConfig(PartsConfig):
    """Keys of Llama and its kin; the defaults are those of Llama 2 with 7 billion parameters."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 4096
    n_layers: PositiveInt = 32
    n_heads: PositiveInt = 32
    n_kv_heads: PositiveInt | None = None
    """None: multi-head; 1: multi-query; between: grouped-query attention."""
    d_head: PositiveInt | None = None
    """None: d_model / n_heads."""
    d_ff: PositiveInt = 11008
    max_length: PositiveInt = 4096
    """What the model was made for; only learned positions end there."""
    position: PositionName = "rotary"
    theta: PositiveFloat = 10_000.0
    """Base of the rotary wavelengths."""
    scaling: Scaling | None = None
    window: PositiveInt | None = None
    """Positions that a token sees, its own included; None: all before it."""
    dropout: Fraction = 0.0
    attention_dropout: Fraction = 0.0
    norm: NormName = "pre"
    norm_kind: NormKind = "rms"
    norm_eps: PositiveFloat = 1e-5
    activation: ActivationName = "silu"
    gated: bool = True
    score: CausalScoreName = "scaled_dot"
    attention_bias: Literal["none", "qkv", "all"] = "none"
    feedforward_bias: bool = False
    tied: bool = False
    """Whether the language model's head is the embedding table."""
    head: Literal["lm", "classify", "tag", "answer"] = "lm"
    """What it is trained for: the next token; labels of texts, or of tokens; where in the text an
    answer starts and ends."""
    n_labels: PositiveInt = 2
    """Of texts or tokens."""
    head_dropout: Fraction | None = None
    """On what labels are read from; None: 0.1 for those of tokens, else none."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "d_ff": 344},
        "135m": {"d_model": 576, "n_layers": 30, "n_heads": 9, "n_kv_heads": 3, "d_ff": 1536},
        "1.1b": {"d_model": 2048, "n_layers": 22, "n_heads": 32, "n_kv_heads": 4, "d_ff": 5632},
        "7b": {},
        "8b": {"n_kv_heads": 8, "d_ff": 14336, "theta": 500_000.0, "max_length": 8192},
    }

    @model_validator(mode="after")
    def _fits(self) -> LlamaConfig:
        check_heads(
            self.n_heads if self.d_head else self.d_model,  # a given width needs no division
            self.n_heads,
            self.n_kv_heads,
            remedy="change one or give d_head",
        )
        self._check_parts()
        if self.scaling is not None and self.position != "rotary":
            raise ValueError(
                f"scaling stretches rotary positions, not position = '{self.position}'; "
                "leave one out"
            )
        return self

    @property
    def width(self) -> int:
        """Of a head."""
        return self.d_head or self.d_model // self.n_heads

    def build(self) -> LanguageModel | Classifier:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            self._scheme(both_ways=False),
            self._last_norm(),
            self.dropout,
        )
        mask = Causal() if self.window is None else Causal() & Window(self.window)
        if self.head != "lm":
            classifier = self._classifier(table, stack, mask)
            normal(classifier)
            return classifier
        head = nn.Linear(self.d_model, self.vocab_size, bias=False)
        network = LanguageModel(
            TokenEmbedding(table), stack, head, mask=mask, max_length=self.bound
        )
        normal(network)
        if self.tied:
            head.weight = table.weight
        return network

    def _classifier(self, table: nn.Embedding, stack: Stack, mask: Mask) -> Classifier:
        n_labels = 2 if self.head == "answer" else self.n_labels
        return Classifier(
            TokenEmbedding(table),
            stack,
            LastToken() if self.head == "classify" else EveryToken(),
            nn.Linear(self.d_model, n_labels, bias=self.head != "classify"),
            mask=mask,
            dropout=self.labels_dropout,
            max_length=self.bound,
        )

    @property
    def labels_dropout(self) -> float:
        """On what labels are read from."""
        if self.head_dropout is not None:
            return self.head_dropout
        return 0.1 if self.head == "tag" else 0.0

    def _scheme(self, *, both_ways: bool) -> Position:
        if self.position != "rotary":
            return super()._scheme(both_ways=both_ways)
        if self.scaling is None:
            return Rotary(rotary.plain(self.width, self.theta))
        return Rotary(self.scaling.rates(self.width, self.theta), self.scaling.lengthening)

    def _block(self) -> Block:
        attention = SelfAttention(
            self.d_model,
            self.n_heads,
            n_kv_heads=self.n_kv_heads,
            d_head=self.d_head,
            bias=self.attention_bias != "none",
            out_bias=self.attention_bias == "all",
            attend=self._attend(),
        )
        feedforward = self._feedforward(self.d_ff, bias=self.feedforward_bias)
        return Block(self._residual(attention), self._residual(feedforward))


HF_KEYS: dict[str, str] = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "head_dim": "d_head",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "max_length",
    "rms_norm_eps": "norm_eps",
    "attention_dropout": "attention_dropout",
    "tie_word_embeddings": "tied",
}
HF_HEADS = {
    "ForCausalLM": "lm",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
}
CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2"}
"""What the names of transformers' classes begin with, by `model_type`."""
HF_ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json`, of any of the three, as our keys."""
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    refuse_others({**theirs, **rope}, {"partial_rotary_factor": 1.0})
    return (
        to_our_keys(theirs, HF_KEYS)
        | _read_head(theirs)
        | {
            "activation": our_word(HF_ACTIVATIONS, theirs, "hidden_act", "silu"),
            "theta": float(rope.get("rope_theta", theirs.get("rope_theta", 10_000.0))),
            "scaling": read_scaling(rope, needed_number(theirs, "max_position_embeddings")),
            "window": _read_window(theirs),
            "attention_bias": "qkv"
            if theirs["model_type"] == "qwen2"
            else ("all" if theirs.get("attention_bias") else "none"),
            "feedforward_bias": theirs.get("mlp_bias", False),
        }
    )


def _read_head(theirs: Mapping[str, Any]) -> dict[str, Any]:
    name = CLASSES[theirs["model_type"]]
    architecture = known_architecture(theirs, [name + end for end in HF_HEADS])
    head = HF_HEADS[architecture.removeprefix(name)]
    if head not in LABELS:
        return {}
    return {
        "head": head,
        "n_labels": read_n_labels(theirs),
        "head_dropout": theirs.get("classifier_dropout"),
    }


def _read_window(theirs: Mapping[str, Any]) -> int | None:
    kind = theirs["model_type"]
    if kind != "qwen2":  # of the others, one has a window, and has it unless it is told otherwise
        return theirs.get("sliding_window", 4096) if kind == "mistral" else None
    first, layers = theirs.get("max_window_layers", 28), theirs["num_hidden_layers"]
    has_window = [i >= first for i in range(layers)]
    if theirs.get("layer_types"):
        has_window = [name == "sliding_attention" for name in theirs["layer_types"]]
    if not theirs.get("use_sliding_window") or not any(has_window):
        return None
    if not all(has_window):
        raise ValueError(
            f"{sum(has_window)} of {layers} layers have a window (max_window_layers, layer_types): "
            "one in some layers only is not supported"
        )
    return theirs.get("sliding_window", 4096)


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`."""
    assert isinstance(config, LlamaConfig)
    labels = write_labels(config.n_labels) | {"classifier_dropout": config.head_dropout}
    return (
        to_their_keys(config, HF_KEYS)
        | (labels if config.head in LABELS else {})
        | {
            "num_key_value_heads": config.n_kv_heads or config.n_heads,
            "head_dim": config.width,
            "hidden_act": their_word(HF_ACTIVATIONS, config.activation),
            "attention_bias": config.attention_bias == "all",
            "mlp_bias": config.feedforward_bias,
            "sliding_window": config.window,
            "use_sliding_window": config.window is not None,
            "max_window_layers": config.n_layers if config.window is None else 0,
            "rope_parameters": {"rope_theta": config.theta, **write_scaling(config.scaling)},
        }
    )


_OURS = "stack.blocks.{i}"
NAMES: list[Rule] = [
    Rule("embed_tokens.weight", "embed.table.weight"),
    Rule("norm.weight", "stack.norm.weight"),
    Rule("layers.{i}.input_layernorm.weight", f"{_OURS}.attention.norm.weight"),
    Rule("layers.{i}.post_attention_layernorm.weight", f"{_OURS}.feedforward.norm.weight"),
    *(
        Rule(f"layers.{{i}}.self_attn.{x}_proj.{{p}}", f"{_OURS}.attention.layer.{own}.{{p}}")
        for x, own in {"q": "q", "k": "k", "v": "v", "o": "out"}.items()
    ),
    *(
        Rule(f"layers.{{i}}.mlp.{x}_proj.{{p}}", f"{_OURS}.feedforward.layer.{x}.{{p}}")
        for x in ("gate", "up", "down")
    ),
]


HEADS: dict[str, Rule] = {
    "lm": Rule("lm_head.weight", "head.weight"),
    "classify": Rule("score.weight", "head.weight"),
    "tag": Rule("score.{p}", "head.{p}"),
    "answer": Rule("qa_outputs.{p}", "head.{p}"),
}


def _names(config: FamilyConfig) -> list[Rule]:
    assert isinstance(config, LlamaConfig)
    return [*NAMES, HEADS[config.head]]


def _architecture(name: str) -> Callable[[FamilyConfig], str]:
    """The class of transformers for a configuration."""

    def of(config: FamilyConfig) -> str:
        assert isinstance(config, LlamaConfig)
        return name + {own: their for their, own in HF_HEADS.items()}[config.head]

    return of


def _departs(config: FamilyConfig, biases: Set[str], windows: Set[bool]) -> list[str]:
    """What a model type has not, which has these `biases` of attention, and `windows` or none."""
    assert isinstance(config, LlamaConfig)
    found = config.departures()
    if config.attention_bias not in biases:
        found.append(f"attention_bias = '{config.attention_bias}'")
    if config.feedforward_bias and "all" not in biases:
        found.append("feedforward_bias = true")
    scaling = config.scaling
    if scaling and scaling.kind == "dynamic" and scaling.trained != config.max_length:
        found.append(f"scaling.trained = {scaling.trained} and max_length = {config.max_length}")
    if (config.window is not None) not in windows:
        found.append(f"window = {config.window}")
    return found


def _convention(model_type: str, biases: Set[str], windows: Set[bool]) -> None:
    CONVENTIONS.add(model_type)(
        Convention(
            family="llama",
            model_type=model_type,
            architecture=_architecture(CLASSES[model_type]),
            prefix="model.",
            names=_names,
            outside=r"(lm_head|score|qa_outputs)\..*",
            prefixes={f"{x}ForQuestionAnswering": "transformer." for x in ("Llama", "Qwen2")},
            constants=(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
            read=read_config,
            write=write_config,
            departs=lambda config: _departs(config, biases, windows),
        )
    )


_convention("qwen2", {"qkv"}, {False, True})
_convention("mistral", {"none"}, {True})
_convention("llama", {"none", "all"}, {False})
