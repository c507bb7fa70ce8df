"""ViT (Dosovitskiy et al. 2021, "An image is worth 16x16 words")."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward
from sublayer.layers.head import FirstToken, Pooler
from sublayer.layers.init import glorot
from sublayer.layers.patch import PatchEmbedding
from sublayer.layers.position import Position
from sublayer.layers.residual import PreNorm
from sublayer.models.base import FAMILIES, FamilyConfig, Fraction, ImageEncoder, check_heads
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
@FAMILIES.add("vit")
class ViTConfig(FamilyConfig):
    """Keys of ViT; the defaults are those of ViT-B/16 for the thousand classes of ImageNet."""

    image_size: PositiveInt = 224
    """Height and width of the images it has positions for; they are stretched for others."""
    patch_size: PositiveInt = 16
    n_channels: PositiveInt = 3
    d_model: PositiveInt = 768
    n_layers: PositiveInt = 12
    n_heads: PositiveInt = 12
    d_ff: PositiveInt = 3072
    dropout: Fraction = 0.0
    attention_dropout: Fraction = 0.0
    norm_eps: PositiveFloat = 1e-12
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    qkv_bias: bool = True
    n_labels: PositiveInt = 1000
    """Classes of images."""
    head: Literal["none", "classify"] = "classify"
    """What it is trained for: nothing yet, or classes of images."""
    pooler: bool = False
    """Whether a layer with tanh stands between the [class] token and what is said of the image, as
    in the paper's pre-training."""

    SIZES: ClassVar = {
        "tiny": {
            "image_size": 32,
            "patch_size": 4,
            "d_model": 128,
            "n_layers": 6,
            "n_heads": 4,
            "d_ff": 512,
        },
        "small": {"d_model": 384, "n_heads": 6, "d_ff": 1536},
        "base": {},
        "large": {"d_model": 1024, "n_layers": 24, "n_heads": 16, "d_ff": 4096},
        "huge": {"patch_size": 14, "d_model": 1280, "n_layers": 32, "n_heads": 16, "d_ff": 5120},
    }

    @model_validator(mode="after")
    def _fits(self) -> ViTConfig:
        check_heads(self.d_model, self.n_heads)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not divisible by patch_size {self.patch_size}; "
                "change one"
            )
        return self

    def build(self) -> ImageEncoder:
        """The network, initialized."""
        stack = Stack(
            [self._block() for _ in range(self.n_layers)],
            Position(),  # the embedding has its own, as a grid
            self._norm(),
            self.dropout,
        )
        network = ImageEncoder(
            PatchEmbedding(self.image_size, self.patch_size, self.n_channels, self.d_model),
            stack,
            Pooler(self.d_model) if self.pooler else FirstToken(),
            nn.Identity() if self.head == "none" else nn.Linear(self.d_model, self.n_labels),
        )
        glorot(network)
        return network

    def _norm(self) -> nn.Module:
        return nn.LayerNorm(self.d_model, eps=self.norm_eps)

    def _block(self) -> Block:
        attention = SelfAttention(
            self.d_model,
            self.n_heads,
            bias=self.qkv_bias,
            out_bias=True,
            attend=Dense(dropout=self.attention_dropout),
        )
        feedforward = FeedForward(self.d_model, self.d_ff, ACTIVATIONS[self.activation])
        return Block(
            PreNorm(attention, self._norm(), self.dropout),
            PreNorm(feedforward, self._norm(), self.dropout),
        )


HF_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
HF_KEYS: dict[str, str] = {
    "image_size": "image_size",
    "patch_size": "patch_size",
    "num_channels": "n_channels",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_ff",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "layer_norm_eps": "norm_eps",
    "qkv_bias": "qkv_bias",
}
HF_HEADS = {"ViTModel": "none", "ViTForImageClassification": "classify"}


def read_config(theirs: Mapping[str, Any], tensors: Set[str]) -> dict[str, Any]:
    """Hugging Face's `config.json` as our keys."""
    head = HF_HEADS[known_architecture(theirs, list(HF_HEADS))]
    _refuse_others(theirs)
    ours = to_our_keys(theirs, HF_KEYS) | {
        "activation": our_word(HF_ACTIVATIONS, theirs, "hidden_act", "gelu"),
        "head": head,
        "pooler": head == "none" and "pooler.dense.weight" in tensors,
    }
    return ours | ({"n_labels": read_n_labels(theirs)} if head == "classify" else {})


def _refuse_others(theirs: Mapping[str, Any]) -> None:
    for key in ("image_size", "patch_size"):
        if not isinstance(theirs.get(key, 1), int):
            raise ValueError(f"{key} {theirs[key]} is not supported: images and patches are square")
    refuse_others(theirs, {"pooler_act": "tanh"})
    width = theirs.get("pooler_output_size")
    if width not in {None, theirs.get("hidden_size", 768)}:
        raise ValueError(f"pooler_output_size {width} is not supported: only hidden_size")


def write_config(config: FamilyConfig) -> dict[str, Any]:
    """Our keys as Hugging Face's `config.json`."""
    assert isinstance(config, ViTConfig)
    labels = write_labels(config.n_labels) if config.head == "classify" else {}
    act = their_word(HF_ACTIVATIONS, config.activation)
    return to_their_keys(config, HF_KEYS) | {"hidden_act": act} | labels


def _architecture(config: FamilyConfig) -> str:
    assert isinstance(config, ViTConfig)
    return {own: their for their, own in HF_HEADS.items()}[config.head]


def _departs(config: FamilyConfig) -> list[str]:
    """Theirs classifies from the [class] token as it is."""
    assert isinstance(config, ViTConfig)
    return ["pooler = true"] if config.head == "classify" and config.pooler else []


NAMES: list[Rule] = [
    Rule("embeddings.cls_token", "embed.first", row=True),
    Rule("embeddings.position_embeddings", "embed.positions", row=True),
    Rule("embeddings.patch_embeddings.projection.{p}", "embed.patches.{p}"),
    Rule("layernorm.{p}", "stack.norm.{p}"),
    Rule("pooler.dense.{p}", "pooler.dense.{p}"),
    Rule("classifier.{p}", "head.{p}"),
    *(
        Rule(f"encoder.layer.{{i}}.{their}.{{p}}", f"stack.blocks.{{i}}.{own}.{{p}}")
        for their, own in {
            "attention.attention.query": "attention.layer.q",
            "attention.attention.key": "attention.layer.k",
            "attention.attention.value": "attention.layer.v",
            "attention.output.dense": "attention.layer.out",
            "intermediate.dense": "feedforward.layer.up",
            "output.dense": "feedforward.layer.down",
            "layernorm_before": "attention.norm",
            "layernorm_after": "feedforward.norm",
        }.items()
    ),
]

CONVENTIONS.add("vit")(
    Convention(
        family="vit",
        model_type="vit",
        architecture=_architecture,
        bare="ViTModel",
        prefix="vit.",
        names=lambda config: NAMES,
        unused=lambda config: [] if config.model_dump()["pooler"] else [r"pooler\..*"],
        outside=r"classifier\..*",
        read=read_config,
        write=write_config,
        departs=_departs,
    )
)
