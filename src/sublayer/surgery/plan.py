"""The plan by which a quantized encoder-decoder can be run without its classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.nn import functional as F

from sublayer.config.plan import ActName, Norm, Plan, Sublayer, Words
from sublayer.config.plan import Stack as StackPlan
from sublayer.layers.attend import Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Block, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import Activation, FeedForward
from sublayer.layers.position import Learned, Sinusoidal
from sublayer.layers.quantized import Int8Embedding, Int8Linear
from sublayer.layers.residual import PostNorm, PreNorm
from sublayer.layers.score import ScaledDot
from sublayer.models.base import EncoderDecoder
from sublayer.models.hub import network_tensors


class _Unknown(Exception):
    """A part that a plan has no word for."""


def plan_of(network: nn.Module) -> Plan | None:
    """The plan of a network in eight bits, if it is of parts that plans have words for."""
    if not isinstance(network, EncoderDecoder):
        return None
    planner = _Planner(network)
    try:
        return planner.plan(network)
    except _Unknown:
        return None


class _Planner:
    """Knows the parts of a network by their names."""

    def __init__(self, network: EncoderDecoder) -> None:
        self.names = {part: name for name, part in network.named_modules()}

    def plan(self, network: EncoderDecoder) -> Plan:
        encoder, decoder = _known(network.encoder, Stack), _known(network.decoder, Stack)
        return Plan(
            source=self._words(network.source_embed, encoder),
            target=self._words(network.target_embed, decoder),
            encoder=self._stack(encoder),
            decoder=self._stack(decoder),
            head=self._linear(network.head),
            max_length=network.max_length,
            n_tensors=len(network_tensors(network)),
        )

    def _words(self, embedding: nn.Module, stack: Stack) -> Words:
        embed: TokenEmbedding = _known(embedding, TokenEmbedding)
        table, position = self.names[_known(embed.table, Int8Embedding)], stack.position
        if isinstance(position, Sinusoidal):
            return Words(table=table, scale=embed.scale, halves=position.halves)
        learned: Learned = _known(position, Learned)
        name, skipped = self.names[learned.table], learned.skipped
        return Words(table=table, scale=embed.scale, positions=name, skipped=skipped)

    def _stack(self, stack: Stack) -> StackPlan:
        _known(stack.entry, nn.Identity)
        if stack.rounds != 1:
            raise _Unknown
        norm = None if isinstance(stack.norm, nn.Identity) else self._norm(stack.norm)
        blocks = (_known(block, Block) for block in stack.blocks)
        return StackPlan(sublayers=[s for block in blocks for s in self._block(block)], norm=norm)

    def _block(self, block: Block) -> Iterator[Sublayer]:
        for residual in (block.attention, block.cross, block.feedforward):
            if residual is not None:
                yield self._sublayer(residual)

    def _sublayer(self, part: nn.Module) -> Sublayer:
        residual: PostNorm | PreNorm = _known(part, PostNorm, PreNorm)
        layer = residual.layer
        norm, is_post = self._norm(residual.norm), isinstance(residual, PostNorm)
        if isinstance(layer, FeedForward):
            up, down = self._linear(layer.up), self._linear(layer.down)
            act = act_of(layer.act)
            if act is None:
                raise _Unknown
            return Sublayer(norm=norm, is_post=is_post, first=[up], last=down, act=act)
        layer = _known(layer, SelfAttention, CrossAttention)
        _known(_known(layer.attend, Dense).score, ScaledDot)
        q, *others = (self._linear(part) for part in (layer.q, layer.k, layer.v))
        is_own = isinstance(layer, SelfAttention)
        return Sublayer(
            norm=norm,
            is_post=is_post,
            first=[q, *others] if is_own else [q],
            last=self._linear(layer.out),
            n_heads=layer.q.out_features // layer.d_head,
            n_groups=layer.k.out_features // layer.d_head,
            memory=[] if is_own else others,
        )

    def _norm(self, norm: nn.Module) -> Norm:
        return Norm(name=self.names[norm], eps=_known(norm, nn.LayerNorm).eps)

    def _linear(self, layer: nn.Module) -> str:
        return self.names[_known(layer, Int8Linear)]


def _known(part: object, *kinds: type) -> Any:
    if type(part) not in kinds:
        raise _Unknown
    return part


def act_of(act: Activation) -> ActName | None:
    """What plans call it; None if loops do not know it."""
    if isinstance(act, partial) and act.func is F.gelu and act.keywords == {"approximate": "tanh"}:
        return "gelu_tanh"
    names: dict[Activation, ActName] = {F.relu: "relu", F.silu: "silu"}
    return None if isinstance(act, partial) else names.get(act)
