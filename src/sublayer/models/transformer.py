"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017, arXiv:1706.03762)."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.init import glorot
from sublayer.layers.residual import Residual
from sublayer.models.base import FAMILIES, EncoderDecoder, Fraction, check_heads
from sublayer.models.choices import ActivationName, NormName, PartsConfig, PositionName
from sublayer.models.names import Rule


@final
@FAMILIES.add("transformer")
class TransformerConfig(PartsConfig):
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
    norm: NormName = "post"
    norm_eps: PositiveFloat = 1e-5
    position: PositionName = "sinusoidal"
    """Of self-attention; attention to the source knows none (section 3.5)."""
    activation: ActivationName = "relu"
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
        self._check_parts()
        if self.tied == "all" and self.source_vocab_size not in {None, self.vocab_size}:
            raise ValueError(
                "tied = 'all' needs one vocabulary; use tied = 'output' with separate ones"
            )
        return self

    @property
    def width(self) -> int:
        """Of a head."""
        return self.d_head or self.d_model // self.n_heads

    def build(self) -> EncoderDecoder:
        """The network, initialized."""
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
                self._scheme(both_ways=not has_cross),
                self._last_norm(),
                dropout,
            )
            for n_layers, has_cross in (
                (self.n_layers, False),
                (self.n_decoder_layers or self.n_layers, True),
            )
        ]
        network = EncoderDecoder(
            TokenEmbedding(source, self.d_model**0.5),
            TokenEmbedding(target, self.d_model**0.5),
            stacks[0],
            stacks[1],
            head,
            max_length=self.bound,
        )
        glorot(network)
        if self.tied != "none":  # after glorot, whose table is the one the paper shares
            head.weight = target.weight
        return network

    def _block(self, has_cross: bool) -> Block:
        def attention(kind: type[SelfAttention | CrossAttention]) -> Residual:
            return self._residual(
                kind(
                    self.d_model,
                    self.n_heads,
                    n_kv_heads=self.n_kv_heads,
                    d_head=self.d_head,
                    attend=self._attend(own=kind is SelfAttention),
                )
            )

        cross = attention(CrossAttention) if has_cross else None
        feedforward = self._residual(self._feedforward(self.d_ff))
        return Block(attention(SelfAttention), feedforward, cross)


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
