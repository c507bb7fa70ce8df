"""Models as CTranslate2 (OpenNMT) reads them, written from the parts that a network is made of.

No family is named: what is built from parts that CTranslate2 has too is written, whatever it is
called, and every other part is refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sublayer.config.optional import needs
from sublayer.layers.attend import Dense
from sublayer.layers.attention import CrossAttention, SelfAttention
from sublayer.layers.block import Block, Body, Stack
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.feedforward import ACTIVATIONS, Activation, FeedForward, GatedFeedForward
from sublayer.layers.head import Scale
from sublayer.layers.mask import Causal
from sublayer.layers.norm import RMSNorm
from sublayer.layers.position import Learned, Position, Sinusoidal
from sublayer.layers.relative import Alibi, Buckets, Shaw
from sublayer.layers.residual import PostNorm, PreNorm
from sublayer.layers.rotary import Rotary, plain
from sublayer.layers.score import Dot, ScaledDot, Score
from sublayer.models.base import EncoderDecoder, LanguageModel
from sublayer.text.special import Special

with needs("CTranslate2's form", "ctranslate2", "export"):
    from ctranslate2 import specs
    from ctranslate2.specs.attention_spec import RotaryScalingType
    from ctranslate2.specs.common_spec import Activation as TheirActivation

Role = Literal["encoder", "decoder", "language model"]
PLACES = 1024
"""Positions that are written of sinusoids, which have no end: as many as a source may have there
unless the caller asks for more."""
NEVER = -1e3
"""A bias of which a softmax leaves nothing, and which rounds no other number away."""
ENDLESS = 1 << 30
"""A length beyond any at which rotary rates change."""
N_BUCKETS, FARTHEST = 32, 128
"""Of the bias on the scores, all zeros, that stands for having no positions."""
THEIR_ACTIVATIONS = {
    "relu": TheirActivation.RELU,
    "gelu": TheirActivation.GELU,
    "gelu_tanh": TheirActivation.GELUTanh,
    "silu": TheirActivation.SWISH,
}


def export(
    network: EncoderDecoder | LanguageModel,
    folder: Path,
    target: Sequence[str | None],
    source: Sequence[str | None] | None = None,
    special: Special | None = None,
) -> None:
    """Write what `ctranslate2.Translator` or `ctranslate2.Generator` loads, in float32.

    `target` is how each id is written, from 0 on; ids that are not written, or come behind those,
    get names of their own. `source` is that of the other side, None where both have one vocabulary.
    A target begins with the id `special.bos`.

    Raises:
        ValueError: CTranslate2 has nothing like a part, which is named.
    """
    special = Special() if special is None else special
    if isinstance(network, EncoderDecoder):
        spec = _encoder_decoder(network)
        names = _names(target, network.target_embed)
        spec.register_target_vocabulary(names)
        read = target if source is None else source
        spec.register_source_vocabulary(_names(read, network.source_embed))
        spec.config.decoder_start_token = names[special.bos]
    else:
        spec = _language_model(network)
        names = _names(target, network.embed)
        spec.register_vocabulary(names)
    spec.config.bos_token, spec.config.eos_token = names[special.bos], names[special.eos]
    spec.config.unk_token = names[special.unk]
    spec.config.layer_norm_epsilon = _epsilon(network)
    folder.mkdir(parents=True, exist_ok=True)
    spec.validate()
    spec.optimize()
    spec.save(str(folder))


def silence(network: EncoderDecoder | LanguageModel, ids: Sequence[int]) -> None:
    """Give the head a bias by which `ids` are never written: CTranslate2 keeps no list of them.

    Raises:
        ValueError: the head is of a kind that cannot be exported.
    """
    _check_plain(network.head)
    bias = torch.zeros(network.head.out_features)
    if network.head.bias is not None:
        bias += network.head.bias.detach()
    bias[list(ids)] = NEVER
    network.head.bias = nn.Parameter(bias)


def _refusal(part: str) -> ValueError:
    return ValueError(f"this model cannot be exported to CTranslate2, because of {part}")


def _names(tokens: Sequence[str | None], embed: nn.Module) -> list[str]:
    """One for each row of the table, which may be longer than the vocabulary, or shorter."""
    size = _table(embed).num_embeddings
    given = [*tokens[:size], *[None] * (size - len(tokens))]
    return [f"<unused_{id}>" if token is None else token for id, token in enumerate(given)]


def _table(embed: nn.Module) -> nn.Embedding:
    if not isinstance(embed, TokenEmbedding):
        raise _refusal(f"its embedding: {type(embed).__name__}")
    return embed.table


def _epsilon(network: nn.Module) -> float:
    """That of all norms."""
    found = {part.eps for part in network.modules() if isinstance(part, nn.LayerNorm | RMSNorm)}
    if len(found) != 1:
        raise _refusal(f"its norms, which differ in eps: {sorted(found)}")
    return found.pop()


# ---- two kinds of models -------------------------------------------------------------------------


def _encoder_decoder(network: EncoderDecoder) -> Any:
    reading, writing = _attending(network.encoder), _attending(network.decoder)
    encoder = specs.TransformerEncoderSpec(**_options(reading, role="encoder"))
    decoder = specs.TransformerDecoderSpec(**_options(writing, role="decoder"))
    _embed(encoder, encoder.embeddings[0], network.source_embed)
    _embed(decoder, decoder.embeddings, network.target_embed)
    _stack(encoder, reading)
    _stack(decoder, writing)
    _linear(decoder.projection, network.head)
    return specs.TransformerSpec(encoder, decoder)


def _language_model(network: LanguageModel) -> Any:
    if network.mask != Causal():
        raise _refusal("its window: the one there is over blocks of the prompt")
    stack = _attending(network.stack)
    options = _options(stack, role="language model")
    decoder = specs.TransformerDecoderSpec(**options, with_encoder_attention=False)
    _embed(decoder, decoder.embeddings, network.embed)
    _stack(decoder, stack)
    _linear(decoder.projection, network.head)
    return specs.TransformerDecoderModelSpec(decoder)


def _embed(side: Any, spec: Any, embed: nn.Module) -> None:
    assert isinstance(embed, TokenEmbedding)
    spec.weight, side.scale_embeddings = _plain(embed.table.weight), float(embed.scale)


# ---- stacks --------------------------------------------------------------------------------------


def _blocks(stack: Stack) -> list[Block]:
    assert stack.rounds == 1
    assert isinstance(stack.entry, nn.Identity), "of encoders alone"
    return [block for block in stack.blocks if isinstance(block, Block)]


def _attending(body: Body) -> Stack:
    if not isinstance(body, Stack):
        raise _refusal(f"its layers: {type(body).__name__}")
    return body


def _options(stack: Stack, *, role: Role) -> dict[str, Any]:
    """What it is made of, as arguments for theirs; all blocks are like the first."""
    first = _blocks(stack)[0]
    residual, attention, layer = first.attention, first.attention.layer, first.feedforward.layer
    if not isinstance(residual, PreNorm | PostNorm):
        raise _refusal(f"how norms are placed: {type(residual).__name__}")
    if not isinstance(layer, FeedForward | GatedFeedForward):
        raise _refusal(f"its feed-forward network: {type(layer).__name__}")
    assert isinstance(attention, SelfAttention)
    d_head = attention.d_head
    n_heads, n_kv_heads = (
        _check_plain(projection).out_features // d_head for projection in (attention.q, attention.k)
    )
    return {
        "num_layers": len(stack.blocks),
        "num_heads": n_heads,
        "num_heads_kv": n_kv_heads if n_kv_heads != n_heads else None,
        "head_dim": d_head,
        "pre_norm": isinstance(residual, PreNorm),
        "rms_norm": isinstance(residual.norm, RMSNorm),
        "activation": THEIR_ACTIVATIONS[_name(layer.act)],
        "ffn_glu": isinstance(layer, GatedFeedForward),
        **_position_options(stack.position, attention, role),
    }


def _name(act: Activation) -> str:
    """Copies of a network have copies of what was made by `partial`."""

    def known(other: Activation) -> bool:
        if isinstance(act, partial) and isinstance(other, partial):
            return (act.func, act.keywords) == (other.func, other.keywords)
        return act is other

    return next(name for name, other in ACTIVATIONS.items() if known(other))


def _stack(spec: Any, stack: Stack) -> None:
    """The weights of all blocks, of positions and of the norm at the end."""
    for to, block in zip(spec.layer, _blocks(stack), strict=True):
        _attention(to.self_attention, block.attention.layer, stack.position)
        _norm(to.self_attention.layer_norm, block.attention.norm)
        if block.cross is not None:
            _attention(to.attention, block.cross.layer, None)
            _norm(to.attention.layer_norm, block.cross.norm)
        _feedforward(to.ffn, block.feedforward.layer)
        _norm(to.ffn.layer_norm, block.feedforward.norm)
    if isinstance(stack.position, Sinusoidal | Learned):
        spec.position_encodings.encodings = _places(stack.position)
    factor = 1.0
    for part in stack.norm.modules():
        factor *= part.factor if isinstance(part, Scale) else 1.0
    for part in stack.norm.modules():
        if isinstance(part, nn.LayerNorm | RMSNorm):
            _norm(spec.layer_norm, part, factor)


def _norm(spec: Any, norm: nn.Module, factor: float = 1.0) -> None:
    assert isinstance(norm, nn.LayerNorm | RMSNorm)
    spec.gamma = _plain(norm.weight) * factor
    if isinstance(norm, nn.LayerNorm):
        spec.beta = _plain(norm.bias) * factor


def _feedforward(spec: Any, layer: nn.Module) -> None:
    assert isinstance(layer, FeedForward | GatedFeedForward)
    if isinstance(layer, GatedFeedForward):
        _linear(spec.linear_0, layer.gate)
        _linear(spec.linear_0_noact, layer.up)
    else:
        _linear(spec.linear_0, layer.up)
    _linear(spec.linear_1, layer.down)


def _attention(spec: Any, layer: nn.Module, position: Position | None) -> None:
    """`position` is that of a sequence which looks at itself."""
    assert isinstance(layer, SelfAttention | CrossAttention)
    score = _score(layer)
    scale = 1.0 if isinstance(score, Dot) else layer.d_head**-0.5
    if isinstance(layer, SelfAttention):
        _linear(spec.linear[0], layer.q, layer.k, layer.v)
    else:
        _linear(spec.linear[0], layer.q)
        _linear(spec.linear[1], layer.k, layer.v)
    _linear(spec.linear[-1], layer.out)
    if isinstance(score, Shaw):
        spec.relative_position_keys = _plain(score.table.weight)
        spec.relative_position_values = torch.zeros_like(spec.relative_position_keys)
    elif type(position) is Position:
        n_heads = layer.q.out_features // layer.d_head
        _bias(spec, torch.zeros(N_BUCKETS, n_heads), FARTHEST)
    if isinstance(position, Buckets):
        _bias(spec, _plain(position.table.weight), position.farthest)
    if isinstance(position, Rotary):
        scale *= position.strength**2  # of queries and of keys
        _, divisors = _rates(position)
        if divisors is not None:
            spec.rotary_scaling_short_factor = spec.rotary_scaling_long_factor = divisors
    spec.queries_scale = scale


def _score(layer: SelfAttention | CrossAttention) -> Score:
    attend = layer.attend
    if not isinstance(attend, Dense):
        raise _refusal(f"its attention: {type(attend).__name__}")
    if not isinstance(attend.score, ScaledDot | Dot | Shaw):
        raise _refusal(f"its attention score: {type(attend.score).__name__}")
    return attend.score


def _linear(spec: Any, *layers: nn.Module) -> None:
    """Those that read the same, as one; where one of them has no bias it is zero."""
    found = [_check_plain(layer) for layer in layers]
    spec.weight = _joined([layer.weight for layer in found])
    if any(layer.bias is not None for layer in found):
        spec.bias = _joined(
            [x.weight.new_zeros(x.out_features) if x.bias is None else x.bias for x in found]
        )


def _check_plain(layer: nn.Module) -> nn.Linear:
    if type(layer) is not nn.Linear:
        raise _refusal(f"a layer of kind {type(layer).__name__}; export what it was made from")
    return layer


def _joined(tensors: list[Tensor]) -> Tensor:
    return _plain(tensors[0] if len(tensors) == 1 else torch.cat(tensors))


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()


# ---- positions -----------------------------------------------------------------------------------


def _position_options(position: Position, attention: SelfAttention, role: Role) -> dict[str, Any]:
    """The scheme, as arguments for theirs."""
    if isinstance(position, Sinusoidal | Learned):
        return {}
    if isinstance(position, Rotary):
        base, divisors = _rates(position)
        return {
            "rotary_dim": 0,  # all of the head
            "rotary_interleave": False,
            "rotary_base": base,
            "rotary_scaling_type": None if divisors is None else RotaryScalingType.Su,
        }
    if isinstance(position, Alibi) and role != "encoder":
        return {"alibi": True}
    if isinstance(position, Buckets) and role != "language model":  # it takes wrong ones in prompts
        return {"relative_attention_bias": True}
    if type(position) is Position:
        is_shaw = isinstance(_score(attention), Shaw)
        return {"relative_position" if is_shaw else "relative_attention_bias": True}
    raise _refusal(f"its positions in the {role}: {type(position).__name__}")


def _bias(spec: Any, table: Tensor, farthest: int) -> None:
    spec.relative_attention_bias = table
    spec.relative_attention_max_distance = torch.tensor(farthest, dtype=torch.int32)


def _places(position: Sinusoidal | Learned) -> Tensor:
    """What is added to the embeddings, `n m`."""
    if isinstance(position, Learned):
        return _plain(position.table.weight[position.skipped :])
    n, d_model = position.table.shape
    return Sinusoidal(max(n, PLACES), d_model, halves=position.halves).table


def _rates(position: Rotary) -> tuple[float, Tensor | None]:
    """Base of the wavelengths, and what each is multiplied by, if they do not follow from it."""
    rates = position.rates(0)
    if position.rates(ENDLESS) is not rates:
        raise _refusal("its rotary positions, whose rates change with the length")
    d_head = 2 * len(rates)
    base = float(rates[1] ** (-d_head / 2)) if len(rates) > 1 else 10_000.0
    divisors = plain(d_head, base)(0) / rates
    follow = torch.allclose(divisors, torch.ones_like(divisors), rtol=1e-9)
    return base, None if follow else divisors.float()
