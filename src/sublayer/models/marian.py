"""Marian (Junczys-Dowmunt et al. 2018) as in OPUS-MT (Tiedemann & Thottingal 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import PositiveInt, model_validator
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward
from sublayer.layers.init import glorot
from sublayer.layers.position import Sinusoidal
from sublayer.layers.residual import PostNorm
from sublayer.models.base import FAMILIES, EncoderDecoder, FamilyConfig, Fraction, check_heads
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    known_architecture,
    needed_number,
    our_word,
    their_word,
    to_our_keys,
    to_their_keys,
)
from sublayer.models.names import Rule


@final
@FAMILIES.add("marian")
class MarianConfig(FamilyConfig):
    """Keys of Marian's Transformer; the defaults are those of the OPUS-MT models."""

    vocab_size: PositiveInt
    source_vocab_size: PositiveInt | None = None
    """None: source, target and head share one matrix; otherwise target and head do."""
    d_model: PositiveInt = 512
    n_layers: PositiveInt = 6
    n_decoder_layers: PositiveInt | None = None
    """None: as many as the encoder has."""
    n_heads: PositiveInt = 8
    d_ff: PositiveInt = 2048
    max_length: PositiveInt = 512
    """What the model was made for; the sinusoids have no limit of their own."""
    dropout: Fraction = 0.1
    attention_dropout: Fraction = 0.0
    activation_dropout: Fraction = 0.0
    activation: Literal["relu", "gelu", "silu"] = "silu"
    scaled_embedding: bool = True
    """Whether embeddings are multiplied by sqrt(d_model)."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128, "n_layers": 3, "n_heads": 4, "d_ff": 512},
        "base": {},
        "big": {"d_model": 1024, "n_heads": 16, "d_ff": 4096},
    }

    @model_validator(mode="after")
    def _fits(self) -> MarianConfig:
        check_heads(self.d_model, self.n_heads)
        if self.d_model % 2:
            raise ValueError(f"sinusoidal positions need an even d_model, got {self.d_model}")
        return self

    def build(self) -> EncoderDecoder:
        """The network, initialized."""
        target = nn.Embedding(self.vocab_size, self.d_model)
        source = (
            target
            if self.source_vocab_size is None
            else nn.Embedding(self.source_vocab_size, self.d_model)
        )
        scale = self.d_model**0.5 if self.scaled_embedding else 1.0
        stacks = [
            Stack(
                [self._block(has_cross) for _ in range(n_layers)],
                Sinusoidal(self.max_length, self.d_model, halves=True),
                dropout=self.dropout,
            )
            for n_layers, has_cross in (
                (self.n_layers, False),
                (self.n_decoder_layers or self.n_layers, True),
            )
        ]
        head = nn.Linear(self.d_model, self.vocab_size)
        network = EncoderDecoder(
            TokenEmbedding(source, scale), TokenEmbedding(target, scale), stacks[0], stacks[1], head
        )
        glorot(network)
        head.weight = target.weight
        return network

    def _block(self, has_cross: bool) -> Block:
        def residual(layer: nn.Module) -> PostNorm:
            return PostNorm(layer, nn.LayerNorm(self.d_model), self.dropout)

        def attention(kind: type[SelfAttention | CrossAttention]) -> PostNorm:
            attend = Dense(dropout=self.attention_dropout)
            return residual(kind(self.d_model, self.n_heads, attend=attend))

        feedforward = FeedForward(
            self.d_model,
            self.d_ff,
            ACTIVATIONS[self.activation],
            dropout=self.activation_dropout,
        )
        cross = attention(CrossAttention) if has_cross else None
        return Block(attention(SelfAttention), residual(feedforward), cross)


HF_KEYS: dict[str, str] = {
    "d_model": "d_model",
    "encoder_layers": "n_layers",
    "decoder_layers": "n_decoder_layers",
    "encoder_attention_heads": "n_heads",
    "encoder_ffn_dim": "d_ff",
    "max_position_embeddings": "max_length",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "scale_embedding": "scaled_embedding",
}
HF_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu"}


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json` as our keys."""
    known_architecture(theirs, ["MarianMTModel"])
    for key in ("attention_heads", "ffn_dim"):
        sides = [theirs.get(f"{side}_{key}") for side in ("encoder", "decoder")]
        if sides[0] != sides[1]:
            raise ValueError(f"{key} differs between encoder and decoder: {sides[0]}, {sides[1]}")
    is_shared = theirs.get("share_encoder_decoder_embeddings", True)
    return to_our_keys(theirs, HF_KEYS) | {
        "activation": our_word(HF_ACTIVATIONS, theirs, "activation_function", "gelu"),
        "vocab_size": theirs.get("decoder_vocab_size") or needed_number(theirs, "vocab_size"),
        "source_vocab_size": None if is_shared else needed_number(theirs, "vocab_size"),
    }


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`; the last id is padding and begins the target."""
    assert isinstance(config, MarianConfig)
    last = config.vocab_size - 1
    return to_their_keys(config, HF_KEYS) | {
        "activation_function": their_word(HF_ACTIVATIONS, config.activation),
        "decoder_layers": config.n_decoder_layers or config.n_layers,
        "decoder_attention_heads": config.n_heads,
        "decoder_ffn_dim": config.d_ff,
        "vocab_size": config.source_vocab_size or config.vocab_size,
        "decoder_vocab_size": config.vocab_size,
        "share_encoder_decoder_embeddings": config.source_vocab_size is None,
        "is_encoder_decoder": True,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "pad_token_id": last,
        "decoder_start_token_id": last,
    }


def _side(side: str) -> list[Rule]:
    theirs, ours = f"model.{side}.layers.{{i}}", f"{side}.blocks.{{i}}"
    attentions = {"self_attn": "attention"} | (
        {"encoder_attn": "cross"} if side == "decoder" else {}
    )
    rules = [
        Rule(f"{theirs}.fc1.{{p}}", f"{ours}.feedforward.layer.up.{{p}}"),
        Rule(f"{theirs}.fc2.{{p}}", f"{ours}.feedforward.layer.down.{{p}}"),
        Rule(f"{theirs}.final_layer_norm.{{p}}", f"{ours}.feedforward.norm.{{p}}"),
    ]
    for name, part in attentions.items():
        rules.append(Rule(f"{theirs}.{name}_layer_norm.{{p}}", f"{ours}.{part}.norm.{{p}}"))
        rules += [
            Rule(f"{theirs}.{name}.{x}_proj.{{p}}", f"{ours}.{part}.layer.{x}.{{p}}")
            for x in ("q", "k", "v", "out")
        ]
    return rules


def _names(config: FamilyConfig) -> list[Rule]:
    assert isinstance(config, MarianConfig)
    is_shared = config.source_vocab_size is None
    tables = (
        [Rule("model.shared.weight", "source_embed.table.weight")]
        if is_shared
        else [
            Rule("model.encoder.embed_tokens.weight", "source_embed.table.weight"),
            Rule("model.decoder.embed_tokens.weight", "target_embed.table.weight"),
        ]
    )
    return [
        *tables,
        Rule("final_logits_bias", "head.bias", row=True),
        Rule("lm_head.weight", "head.weight"),
        Rule("model.encoder.embed_tokens.weight", "source_embed.table.weight"),
        Rule("model.decoder.embed_tokens.weight", "target_embed.table.weight"),
        *_side("encoder"),
        *_side("decoder"),
    ]


CONVENTIONS.add("marian")(
    Convention(
        family="marian",
        model_type="marian",
        architecture=lambda config: "MarianMTModel",
        prefix="",
        names=_names,
        constants=(r"model\.(encoder|decoder)\.embed_positions\.weight",),
        read=read_config,
        write=write_config,
    )
)
