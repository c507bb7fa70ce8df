"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017, arXiv:1706.03762)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward
from sublayer.layers.init import glorot
from sublayer.layers.position import Learned, Position, Sinusoidal
from sublayer.layers.residual import PostNorm, PreNorm, Residual
from sublayer.layers.score import (
    Additive,
    ContentBased,
    Dot,
    General,
    LocationBased,
    ScaledDot,
    Score,
)
from sublayer.models.base import FAMILIES, EncoderDecoder, FamilyConfig, Fraction, check_heads
from sublayer.models.names import Rule

NORMS: dict[str, type[Residual]] = {"post": PostNorm, "pre": PreNorm}
POSITIONS: dict[str, Callable[[int, int], Position]] = {
    "sinusoidal": Sinusoidal,
    "learned": Learned,
}
SCORES: dict[str, Callable[[int, int], Score]] = {  # of head width and longest sequence
    "scaled_dot": lambda d, n: ScaledDot(),
    "dot": lambda d, n: Dot(),
    "general": lambda d, n: General(d, d),
    "additive": lambda d, n: Additive(d, d, d),
    "content": lambda d, n: ContentBased(),
    "location": lambda d, n: LocationBased(d, n),
}


@final
@FAMILIES.add("transformer")
class TransformerConfig(FamilyConfig):
    """Keys of the 2017 encoder-decoder; the defaults are the paper's base model."""

    vocab_size: PositiveInt
    source_vocab_size: PositiveInt | None = None
    """None: source and target share one vocabulary."""
    d_model: PositiveInt = 512
    n_layers: PositiveInt = 6
    n_decoder_layers: PositiveInt | None = None
    """None: as many as the encoder has."""
    n_heads: PositiveInt = 8
    n_kv_heads: PositiveInt | None = None
    """None: multi-head; 1: multi-query; between: grouped-query attention."""
    d_head: PositiveInt | None = None
    """None: d_model / n_heads."""
    d_ff: PositiveInt = 2048
    dropout: Fraction = 0.1
    """On each sublayer's output (section 5.4)."""
    embedding_dropout: Fraction | None = None
    """On embeddings plus positions; None: as `dropout`, as in the paper."""
    attention_dropout: Fraction = 0.0
    """On the attention weights."""
    norm: Literal["post", "pre"] = "post"
    norm_eps: PositiveFloat = 1e-5
    position: Literal["sinusoidal", "learned"] = "sinusoidal"
    activation: Literal["relu", "gelu"] = "relu"
    score: Literal["scaled_dot", "dot", "general", "additive", "content", "location"] = "scaled_dot"
    tied: Literal["all", "output", "none"] = "all"
    """Which are one matrix: all (source and target embedding, pre-softmax), the last two, none."""
    max_length: PositiveInt = 512
    """Longest sequence of learned positions and of the location score; the others have no limit."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 128, "n_layers": 3, "n_heads": 4, "d_ff": 512},
        "small": {"d_model": 256, "n_layers": 4, "n_heads": 4, "d_ff": 1024},
        "base": {"d_model": 512, "n_layers": 6, "n_heads": 8, "d_ff": 2048},
        "big": {"d_model": 1024, "n_layers": 6, "n_heads": 16, "d_ff": 4096, "dropout": 0.3},
    }

    @model_validator(mode="after")
    def _fits(self) -> TransformerConfig:
        check_heads(
            self.n_heads if self.d_head else self.d_model,  # a given width needs no division
            self.n_heads,
            self.n_kv_heads,
            remedy="change one or give d_head",
        )
        if self.position == "sinusoidal" and self.d_model % 2:
            raise ValueError(
                f"sinusoidal positions need an even d_model, got {self.d_model}; "
                "use learned positions"
            )
        if self.tied == "all" and self.source_vocab_size not in {None, self.vocab_size}:
            raise ValueError(
                "tied = 'all' needs one vocabulary; use tied = 'output' with separate ones"
            )
        return self

    def build(self) -> EncoderDecoder:
        """The network, initialized."""
        norm = partial(nn.LayerNorm, self.d_model, eps=self.norm_eps)
        # post-norm blocks end with a norm already
        final_norm = norm if self.norm == "pre" else nn.Identity
        target = nn.Embedding(self.vocab_size, self.d_model)
        source = (
            target
            if self.tied == "all"
            else nn.Embedding(self.source_vocab_size or self.vocab_size, self.d_model)
        )
        head = nn.Linear(self.d_model, self.vocab_size, bias=False)
        dropout = self.dropout if self.embedding_dropout is None else self.embedding_dropout
        stacks = [
            Stack(
                [self._block(has_cross) for _ in range(n_layers)],
                POSITIONS[self.position](self.max_length, self.d_model),
                final_norm(),
                dropout,
            )
            for n_layers, has_cross in (
                (self.n_layers, False),
                (self.n_decoder_layers or self.n_layers, True),
            )
        ]
        is_bounded = self.position == "learned" or self.score == "location"
        network = EncoderDecoder(
            TokenEmbedding(source, self.d_model**0.5),
            TokenEmbedding(target, self.d_model**0.5),
            stacks[0],
            stacks[1],
            head,
            max_length=self.max_length if is_bounded else None,
        )
        glorot(network)
        if self.tied != "none":  # after glorot, whose table is the one the paper shares
            head.weight = target.weight
        return network

    def _block(self, has_cross: bool) -> Block:
        def residual(layer: nn.Module) -> Residual:
            return NORMS[self.norm](
                layer, nn.LayerNorm(self.d_model, eps=self.norm_eps), self.dropout
            )

        def attention(kind: type[SelfAttention | CrossAttention]) -> Residual:
            width = self.d_head or self.d_model // self.n_heads
            attend = Dense(SCORES[self.score](width, self.max_length), self.attention_dropout)
            return residual(
                kind(
                    self.d_model,
                    self.n_heads,
                    n_kv_heads=self.n_kv_heads,
                    d_head=self.d_head,
                    attend=attend,
                )
            )

        feedforward = FeedForward(self.d_model, self.d_ff, ACTIVATIONS[self.activation])
        cross = attention(CrossAttention) if has_cross else None
        return Block(attention(SelfAttention), residual(feedforward), cross)


def _torch_layer(side: str, norms: dict[str, str]) -> list[Rule]:
    """The names of one `nn.Transformer{Encoder,Decoder}Layer`."""
    theirs, ours = f"{side}.layers.{{i}}", f"{side}.blocks.{{i}}"
    attentions = {"self_attn": "attention"} | (
        {"multihead_attn": "cross"} if side == "decoder" else {}
    )
    rules = [
        Rule(f"{theirs}.{norm}.{{p}}", f"{ours}.{part}.norm.{{p}}") for norm, part in norms.items()
    ]
    for name, part in attentions.items():
        layer = f"{ours}.{part}.layer"
        rules += [
            Rule(f"{theirs}.{name}.in_proj_{{p}}", *(f"{layer}.{x}.{{p}}" for x in "qkv")),
            Rule(f"{theirs}.{name}.out_proj.{{p}}", f"{layer}.out.{{p}}"),
        ]
    return [
        *rules,
        Rule(f"{theirs}.linear1.{{p}}", f"{ours}.feedforward.layer.up.{{p}}"),
        Rule(f"{theirs}.linear2.{{p}}", f"{ours}.feedforward.layer.down.{{p}}"),
        Rule(f"{side}.norm.{{p}}", f"{side}.norm.{{p}}"),
    ]


TORCH: list[Rule] = [  # torch.nn.Transformer, which has no embeddings and no head
    *_torch_layer("encoder", {"norm1": "attention", "norm2": "feedforward"}),
    *_torch_layer("decoder", {"norm1": "attention", "norm2": "cross", "norm3": "feedforward"}),
]
