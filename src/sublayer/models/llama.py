"""Llama (Touvron et al. 2023) and what is built alike: Llama 2 and 3, Mistral, Qwen2, SmolLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers import rotary
from sublayer.layers.attend import Dense
from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, GatedFeedForward
from sublayer.layers.init import normal
from sublayer.layers.mask import Causal, Window
from sublayer.layers.residual import PreNorm
from sublayer.layers.rotary import Rates, Rotary
from sublayer.models.base import FAMILIES, FamilyConfig, Fraction, LanguageModel, check_heads
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    our_word,
    their_word,
    to_our_keys,
    to_their_keys,
)
from sublayer.models.names import Rule


@final
class Scaling(BaseModel):
    """How rotary positions reach beyond their trained length; see `layers/rotary.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: Literal["linear", "dynamic", "yarn", "llama3", "longrope"]
    factor: PositiveFloat = 1.0
    trained: PositiveInt
    """Length of the sequences before the stretch."""
    low: PositiveFloat = 1.0
    """Turns below which a pair is interpolated (yarn, llama3)."""
    high: PositiveFloat | None = None
    """Turns above which a pair is left alone; None: 32 for yarn, 4 for llama3."""
    truncate: bool = True
    """Whether yarn's ramp begins and ends at whole pairs."""
    short: tuple[PositiveFloat, ...] = ()
    long: tuple[PositiveFloat, ...] = ()
    """longrope's divisors, d_head / 2 of each."""
    strength: PositiveFloat = 1.0
    """By what queries and keys are lengthened (yarn, longrope)."""

    def rates(self, d_head: int, theta: float) -> Rates:
        """The part that this names."""
        f, n = self.factor, self.trained
        return {
            "linear": lambda: rotary.linear(d_head, theta, f),
            "dynamic": lambda: rotary.dynamic(d_head, theta, f, n),
            "yarn": lambda: rotary.yarn(
                d_head, theta, f, n, fast=self.high or 32.0, slow=self.low, truncate=self.truncate
            ),
            "llama3": lambda: rotary.llama3(
                d_head, theta, f, n, low=self.low, high=self.high or 4.0
            ),
            "longrope": lambda: rotary.longrope(d_head, theta, self.short, self.long, n),
        }[self.kind]()


@final
@FAMILIES.add("llama")
class LlamaConfig(FamilyConfig):
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
    """What the model was made for; rotary positions have no limit of their own."""
    theta: PositiveFloat = 10_000.0
    """Base of the rotary wavelengths."""
    scaling: Scaling | None = None
    window: PositiveInt | None = None
    """Positions that a token sees, its own included; None: all before it."""
    dropout: Fraction = 0.0
    attention_dropout: Fraction = 0.0
    norm_eps: PositiveFloat = 1e-5
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    attention_bias: Literal["none", "qkv", "all"] = "none"
    feedforward_bias: bool = False
    tied: bool = False
    """Whether the head is the embedding table."""

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
        if self.width % 2:
            raise ValueError(f"rotary positions need heads of even width, got {self.width}")
        return self

    @property
    def width(self) -> int:
        """Of a head."""
        return self.d_head or self.d_model // self.n_heads

    def build(self) -> LanguageModel:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        head = nn.Linear(self.d_model, self.vocab_size, bias=False)
        scaling = self.scaling
        rates = (
            rotary.plain(self.width, self.theta)
            if scaling is None
            else scaling.rates(self.width, self.theta)
        )
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            Rotary(rates, 1.0 if scaling is None else scaling.strength),
            self._norm(),
            self.dropout,
        )
        mask = Causal() if self.window is None else Causal() & Window(self.window)
        network = LanguageModel(TokenEmbedding(table), stack, head, mask=mask)
        normal(network)
        if self.tied:
            head.weight = table.weight
        return network

    def _norm(self) -> nn.Module:
        return nn.RMSNorm(self.d_model, eps=self.norm_eps)

    def _block(self) -> Block:
        attention = SelfAttention(
            self.d_model,
            self.n_heads,
            n_kv_heads=self.n_kv_heads,
            d_head=self.d_head,
            bias=self.attention_bias != "none",
            out_bias=self.attention_bias == "all",
            attend=Dense(dropout=self.attention_dropout),
        )
        feedforward = GatedFeedForward(
            self.d_model, self.d_ff, ACTIVATIONS[self.activation], bias=self.feedforward_bias
        )
        return Block(
            PreNorm(attention, self._norm(), self.dropout),
            PreNorm(feedforward, self._norm(), self.dropout),
        )


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
HF_ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
HF_SCALING: dict[str, str] = {
    "rope_type": "kind",
    "factor": "factor",
    "original_max_position_embeddings": "trained",
    "low_freq_factor": "low",
    "high_freq_factor": "high",
    "beta_slow": "low",
    "beta_fast": "high",
    "truncate": "truncate",
    "short_factor": "short",
    "long_factor": "long",
    "attention_factor": "strength",
}


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json`, of any of the three, as our keys."""
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    return to_our_keys(theirs, HF_KEYS) | {
        "activation": our_word(HF_ACTIVATIONS, theirs, "hidden_act", "silu"),
        "theta": float(rope.get("rope_theta", theirs.get("rope_theta", 10_000.0))),
        "scaling": _read_scaling(rope, theirs["max_position_embeddings"]),
        "window": _read_window(theirs),
        "attention_bias": "qkv"
        if theirs["model_type"] == "qwen2"
        else ("all" if theirs.get("attention_bias") else "none"),
        "feedforward_bias": theirs.get("mlp_bias", False),
    }


def _read_scaling(rope: Mapping[str, Any], longest: int) -> dict[str, Any] | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    ours = {own: rope[key] for key, own in HF_SCALING.items() if rope.get(key) is not None}
    ours |= {"kind": kind, "trained": ours.get("trained", longest)}
    ours |= {key: tuple(map(float, ours[key])) for key in ("short", "long") if key in ours}
    ours |= {key: float(ours[key]) for key in ("factor", "low", "high", "strength") if key in ours}
    factor = ours.setdefault("factor", longest / ours["trained"])
    if kind == "yarn" and "strength" not in ours:
        weights = (rope.get("mscale"), rope.get("mscale_all_dim"))
        ours["strength"] = (
            rotary.yarn_strength(factor, weights[0]) / rotary.yarn_strength(factor, weights[1])
            if weights[0] and weights[1]
            else rotary.yarn_strength(factor)
        )
    if kind == "longrope" and "strength" not in ours:
        ours["strength"] = rotary.longrope_strength(factor, ours["trained"])
    return ours


def _read_window(theirs: Mapping[str, Any]) -> int | None:
    window: int | None = theirs.get("sliding_window")
    if theirs["model_type"] != "qwen2":
        return window
    first, layers = theirs.get("max_window_layers", 28), theirs["num_hidden_layers"]
    if not theirs.get("use_sliding_window") or first >= layers:
        return None
    if first > 0:
        raise ValueError(
            f"max_window_layers {first} of {layers}: a window in some layers only is not supported"
        )
    return window


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`."""
    assert isinstance(config, LlamaConfig)
    return to_their_keys(config, HF_KEYS) | {
        "num_key_value_heads": config.n_kv_heads or config.n_heads,
        "head_dim": config.width,
        "hidden_act": their_word(HF_ACTIVATIONS, config.activation),
        "attention_bias": config.attention_bias == "all",
        "mlp_bias": config.feedforward_bias,
        "sliding_window": config.window,
        "use_sliding_window": config.window is not None,
        "max_window_layers": config.n_layers if config.window is None else 0,
        "rope_parameters": {"rope_theta": config.theta, **_write_scaling(config.scaling)},
    }


def _write_scaling(scaling: Scaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    ours = scaling.model_dump(exclude_none=True)
    trained = "original_max_position_embeddings"
    takes = {
        "linear": ["factor"],
        "dynamic": ["factor"],
        "yarn": ["factor", trained, "beta_slow", "beta_fast", "truncate", "attention_factor"],
        "llama3": ["factor", trained, "low_freq_factor", "high_freq_factor"],
        "longrope": ["factor", trained, "attention_factor", "short_factor", "long_factor"],
    }[scaling.kind]
    ours.setdefault("high", 32.0 if scaling.kind == "yarn" else 4.0)
    return {"rope_type": scaling.kind} | {key: ours[HF_SCALING[key]] for key in takes}


_OURS = "stack.blocks.{i}"
NAMES: list[Rule] = [
    Rule("embed_tokens.weight", "embed.table.weight"),
    Rule("norm.weight", "stack.norm.weight"),
    Rule("lm_head.weight", "head.weight"),
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


def _is_qwen(config: FamilyConfig) -> bool:
    return isinstance(config, LlamaConfig) and config.attention_bias == "qkv"


def _is_mistral(config: FamilyConfig) -> bool:
    return isinstance(config, LlamaConfig) and config.window is not None and not _is_qwen(config)


def _convention(
    model_type: str, name: str, fits: Callable[[FamilyConfig], bool] = lambda config: True
) -> None:
    CONVENTIONS.add(model_type)(
        Convention(
            family="llama",
            model_type=model_type,
            architecture=lambda config: f"{name}ForCausalLM",
            prefix="model.",
            names=lambda config: NAMES,
            constants=(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
            read=read_config,
            write=write_config,
            fits=fits,
        )
    )


_convention("qwen2", "Qwen2", _is_qwen)
_convention("mistral", "Mistral", _is_mistral)
_convention("llama", "Llama")
