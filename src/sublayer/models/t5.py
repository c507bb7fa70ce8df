"""T5 (Raffel et al. 2020), its version 1.1 (Shazeer 2020) and Flan-T5 (Chung et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Annotated, Any, ClassVar, Literal, final

from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.dropout import Dropout
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward, GatedFeedForward
from sublayer.layers.head import Scale
from sublayer.layers.norm import RMSNorm
from sublayer.layers.relative import Buckets
from sublayer.layers.residual import PreNorm
from sublayer.layers.score import Dot
from sublayer.models.base import FAMILIES, EncoderDecoder, FamilyConfig, Fraction
from sublayer.models.huggingface import (
    CONVENTIONS,
    Convention,
    known_architecture,
    our_word,
    their_word,
    to_our_keys,
    to_their_keys,
)
from sublayer.models.names import Rule


@final
@FAMILIES.add("t5")
class T5Config(FamilyConfig):
    """Keys of T5; the defaults are those of version 1.1's base model."""

    vocab_size: PositiveInt
    d_model: PositiveInt = 768
    n_layers: PositiveInt = 12
    n_decoder_layers: PositiveInt | None = None
    """None: as many as the encoder has."""
    n_heads: PositiveInt = 12
    d_head: PositiveInt = 64
    d_ff: PositiveInt = 2048
    n_buckets: Annotated[int, Field(ge=4)] = 32
    """Of distances."""
    farthest: PositiveInt = 128
    """Distance from which on all share a bucket."""
    dropout: Fraction = 0.1
    """On each sublayer's output, attention weights, activations, embeddings and the outputs."""
    norm_eps: PositiveFloat = 1e-6
    activation: Literal["relu", "gelu_tanh", "silu"] = "gelu_tanh"
    gated: bool = True
    """Whether the feed-forward has a gate: version 1.1 has, version 1.0 has not."""
    tied: bool = False
    """Whether the head is the embedding table."""
    scaled_output: bool = False
    """Whether the head reads the output times d_model^-0.5, as version 1.0's tied one does."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128, "n_layers": 3, "n_heads": 4, "d_head": 32, "d_ff": 344},
        "small": {"d_model": 512, "n_layers": 8, "n_heads": 6, "d_ff": 1024},
        "base": {},
        "large": {"d_model": 1024, "n_layers": 24, "n_heads": 16, "d_ff": 2816},
        "xl": {"d_model": 2048, "n_layers": 24, "n_heads": 32, "d_ff": 5120},
        "xxl": {"d_model": 4096, "n_layers": 24, "n_heads": 64, "d_ff": 10240},
    }

    def build(self) -> EncoderDecoder:
        """The network, initialized."""
        table = nn.Embedding(self.vocab_size, self.d_model)
        head = nn.Linear(self.d_model, self.vocab_size, bias=False)
        stacks = [
            Stack(
                [self._block(has_cross) for _ in range(n_layers)],
                Buckets(self.n_heads, self.n_buckets, self.farthest, both_ways=not has_cross),
                nn.Sequential(
                    self._norm(),
                    Dropout(self.dropout),
                    Scale(self.d_model**-0.5 if has_cross and self.scaled_output else 1.0),
                ),
                self.dropout,
            )
            for n_layers, has_cross in (
                (self.n_layers, False),
                (self.n_decoder_layers or self.n_layers, True),
            )
        ]
        network = EncoderDecoder(
            TokenEmbedding(table), TokenEmbedding(table), stacks[0], stacks[1], head
        )
        self._initialize(network)
        if self.tied:
            head.weight = table.weight
        return network

    def _initialize(self, network: EncoderDecoder) -> None:
        """By the width of the input, queries also by that of the head, as the scores are unscaled.

        As in the released code (Mesh TensorFlow); tables begin with variance 1.
        """
        for name, part in network.named_modules():
            if isinstance(part, nn.Linear):
                fan_in = part.in_features * (self.d_head if name.endswith("layer.q") else 1)
                nn.init.normal_(part.weight, std=fan_in**-0.5)
            elif isinstance(part, Buckets):
                nn.init.normal_(part.table.weight, std=self.d_model**-0.5)

    def _norm(self) -> nn.Module:
        return RMSNorm(self.d_model, self.norm_eps)

    def _block(self, has_cross: bool) -> Block:
        def residual(layer: nn.Module) -> PreNorm:
            return PreNorm(layer, self._norm(), self.dropout)

        def attention(kind: type[SelfAttention | CrossAttention]) -> PreNorm:
            attend = Dense(Dot(), self.dropout)
            return residual(
                kind(self.d_model, self.n_heads, d_head=self.d_head, bias=False, attend=attend)
            )

        layer = (GatedFeedForward if self.gated else FeedForward)(
            self.d_model,
            self.d_ff,
            ACTIVATIONS[self.activation],
            bias=False,
            dropout=self.dropout,
        )
        cross = attention(CrossAttention) if has_cross else None
        return Block(attention(SelfAttention), residual(layer), cross)


HF_KEYS: dict[str, str] = {
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "num_layers": "n_layers",
    "num_decoder_layers": "n_decoder_layers",
    "num_heads": "n_heads",
    "d_kv": "d_head",
    "d_ff": "d_ff",
    "relative_attention_num_buckets": "n_buckets",
    "relative_attention_max_distance": "farthest",
    "dropout_rate": "dropout",
    "layer_norm_epsilon": "norm_eps",
}
HF_ACTIVATIONS = {  # of `feed_forward_proj`: activation, and whether there is a gate
    "relu": ("relu", False),
    "gelu_new": ("gelu_tanh", False),
    "silu": ("silu", False),
    "gated-relu": ("relu", True),
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
}


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json` as our keys; only the tensors tell whether the head is tied."""
    known_architecture(theirs, ["T5ForConditionalGeneration"])
    activation, gated = our_word(HF_ACTIVATIONS, theirs, "feed_forward_proj", "relu")
    scaled = theirs.get("scale_decoder_outputs", theirs.get("tie_word_embeddings", True))
    return to_our_keys(theirs, HF_KEYS) | {
        "activation": activation,
        "gated": gated,
        "tied": "lm_head.weight" not in tensors,
        "scaled_output": scaled,
    }


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`."""
    assert isinstance(config, T5Config)
    return to_their_keys(config, HF_KEYS) | {
        "num_decoder_layers": config.n_decoder_layers or config.n_layers,
        "feed_forward_proj": their_word(HF_ACTIVATIONS, (config.activation, config.gated)),
        "tie_word_embeddings": config.tied,
        "scale_decoder_outputs": config.scaled_output,
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }


def _side(side: str) -> list[Rule]:
    theirs, ours = f"{side}.block.{{i}}.layer", f"{side}.blocks.{{i}}"
    attentions = [("0", "SelfAttention", "attention")]
    attentions += [("1", "EncDecAttention", "cross")] if side == "decoder" else []
    last = len(attentions)
    rules = [
        Rule(f"{side}.final_layer_norm.weight", f"{side}.norm.0.weight"),
        Rule(
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            f"{side}.position.table.weight",
        ),
        Rule(f"{theirs}.{last}.layer_norm.weight", f"{ours}.feedforward.norm.weight"),
    ]
    for place, name, part in attentions:
        rules.append(Rule(f"{theirs}.{place}.layer_norm.weight", f"{ours}.{part}.norm.weight"))
        rules += [
            Rule(f"{theirs}.{place}.{name}.{x}.weight", f"{ours}.{part}.layer.{own}.weight")
            for x, own in {"q": "q", "k": "k", "v": "v", "o": "out"}.items()
        ]
    feedforward = {"wi": "up", "wi_0": "gate", "wi_1": "up", "wo": "down"}
    return rules + [
        Rule(f"{theirs}.{last}.DenseReluDense.{x}.weight", f"{ours}.feedforward.layer.{own}.weight")
        for x, own in feedforward.items()
    ]


def _names(*, gated: bool) -> list[Rule]:
    unused = "wi." if gated else "wi_"
    return [
        Rule("shared.weight", "source_embed.table.weight"),
        Rule("lm_head.weight", "head.weight"),
        Rule("encoder.embed_tokens.weight", "source_embed.table.weight"),
        Rule("decoder.embed_tokens.weight", "target_embed.table.weight"),
        *(
            rule
            for side in ("encoder", "decoder")
            for rule in _side(side)
            if f".{unused}" not in rule.theirs
        ),
    ]


def _is_gated(config: FamilyConfig) -> bool:
    assert isinstance(config, T5Config)
    return config.gated


CONVENTIONS.add("t5")(
    Convention(
        family="t5",
        model_type="t5",
        architecture=lambda config: "T5ForConditionalGeneration",
        prefix="",
        names=lambda config: _names(gated=_is_gated(config)),
        constants=(
            r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
        ),
        read=read_config,
        write=write_config,
    )
)
