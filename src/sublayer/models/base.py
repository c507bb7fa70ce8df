"""What every family shares: how it is named, configured and built, and the two-part model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from sublayer.config.errors import explain
from sublayer.config.registry import Registry, nearest
from sublayer.layers.block import Body
from sublayer.layers.dropout import Dropout
from sublayer.layers.embedding import SegmentEmbedding
from sublayer.layers.mask import Causal, Mask, Padding
from sublayer.layers.patch import PatchEmbedding
from sublayer.layers.state import State

Fraction = Annotated[float, Field(ge=0, lt=1)]
LABELS = frozenset({"classify", "tag", "answer"})
"""Heads for labels: of a text, of each token, of the tokens where an answer starts and ends."""


class FamilyConfig(BaseModel, ABC):
    """Abstract. A family's own keys; `build` turns them into parts, so no layer ever sees them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]]
    reads_letters: ClassVar[bool] = False
    """Whether words come as their letters, `b n c`, in place of ids `b n`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, initialized."""


def check_heads(
    d_model: int, n_heads: int, n_kv_heads: int | None = None, *, remedy: str = "change one"
) -> None:
    """For validators of configurations.

    Raises:
        ValueError: the width is no multiple of the heads, or these of the key and value heads.
    """
    if d_model % n_heads:
        raise ValueError(f"d_model {d_model} is not divisible by n_heads {n_heads}; {remedy}")
    if n_kv_heads is not None and n_heads % n_kv_heads:
        raise ValueError(f"n_heads {n_heads} is not divisible by n_kv_heads {n_kv_heads}")


FAMILIES: Registry[type[FamilyConfig]] = Registry("model family")


def configure(family: str, size: str | None = None, **keys: Any) -> FamilyConfig:
    """A family's configuration: the size's numbers, changed by `keys`.

    Raises:
        ValueError: the family, the size or a key is unknown, or a value is out of range.
    """
    kind = FAMILIES[family]
    if size is not None and size not in kind.SIZES:
        raise ValueError(f"model.size: {family} has no size '{size}'; {nearest(size, kind.SIZES)}")
    numbers = dict(kind.SIZES[size]) if size is not None else {}
    try:
        return kind(**(numbers | keys))
    except ValidationError as error:
        raise explain(error, kind, lambda key: f"model ({family})") from None


def build(family: str, size: str | None = None, **keys: Any) -> nn.Module:
    """An untrained network of a family: `build("transformer", "small", vocab_size=8000)`.

    Raises:
        ValueError: the family, the size or a key is unknown, or a value is out of range.
    """
    return configure(family, size, **keys).build()


@final
class EncoderDecoder(nn.Module):
    """A two-part model: the encoder reads the source once, the decoder writes the target from it.

    `max_length` is the longest sequence it has places for, None if there is no limit.
    """

    def __init__(
        self,
        source_embed: nn.Module,
        target_embed: nn.Module,
        encoder: Body,
        decoder: Body,
        head: nn.Linear,
        *,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.source_embed, self.target_embed = source_embed, target_embed
        self.encoder, self.decoder, self.head = encoder, decoder, head

    def encode(self, source: Tensor, source_valid: Tensor | None = None) -> Tensor:
        """Ids `b k` -> memory `b k m`; `source_valid` is `b k`, true at real tokens."""
        return self.encoder(
            self.source_embed(source), None if source_valid is None else Padding(source_valid)
        )

    def decode_hidden(
        self,
        target_in: Tensor,
        memory: Tensor,
        source_valid: Tensor | None = None,
        state: State | None = None,
    ) -> Tensor:
        """Ids `b q` and memory `b k m` -> the decoder's output `b q m`, before the head."""
        memory_mask = None if source_valid is None else Padding(source_valid)
        return self.decoder(self.target_embed(target_in), Causal(), memory, memory_mask, state)

    def decode(
        self,
        target_in: Tensor,
        memory: Tensor,
        source_valid: Tensor | None = None,
        state: State | None = None,
    ) -> Tensor:
        """Ids `b q`, memory `b k m` -> logits `b q v`; with a state, `target_in` is what is new."""
        return self.head(self.decode_hidden(target_in, memory, source_valid, state))

    def hidden(
        self, source: Tensor, target_in: Tensor, source_valid: Tensor | None = None
    ) -> Tensor:
        """Ids `b k`, `b q` -> the decoder's output `b q m`, for losses that apply the head."""
        return self.decode_hidden(target_in, self.encode(source, source_valid), source_valid)

    def forward(
        self, source: Tensor, target_in: Tensor, source_valid: Tensor | None = None
    ) -> Tensor:
        """Ids `b k`, `b q` -> logits `b q v`."""
        return self.head(self.hidden(source, target_in, source_valid))


@final
class LanguageModel(nn.Module):
    """A one-part model: a stack over the tokens so far, a head over what comes next.

    `mask` is who sees whom beside padding: `Causal()`, or with a window too.
    """

    def __init__(
        self,
        embed: nn.Module,
        stack: Body,
        head: nn.Linear,
        *,
        mask: Mask | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.embed, self.stack, self.head = embed, stack, head
        self.mask, self.max_length = mask if mask is not None else Causal(), max_length

    def hidden(
        self, ids: Tensor, valid: Tensor | None = None, state: State | None = None
    ) -> Tensor:
        """Ids `b n` -> the stack's output `b n m`; `valid` is `b n`, true at real tokens.

        With a state, `ids` is what is new and `valid` is about it alone. Padding behind the last
        token of a row takes no position, so texts of unlike length go on side by side.
        """
        if state is not None:
            return self.stack(self.embed(ids), self.mask, state=state, valid=valid)
        mask = self.mask if valid is None else self.mask & Padding(valid)
        return self.stack(self.embed(ids), mask)

    def forward(
        self, ids: Tensor, valid: Tensor | None = None, state: State | None = None
    ) -> Tensor:
        """Ids `b n` -> logits `b n v`."""
        return self.head(self.hidden(ids, valid, state))


def segments_in(embed: nn.Module) -> int:
    """Kinds of segments that an embedding knows."""
    for part in embed.modules():
        if isinstance(part, SegmentEmbedding):
            return part.segments.num_embeddings
    return 0


@final
class Encoder(nn.Module):
    """A one-part model that sees both sides of every token.

    `head` turns the stack's output into what `forward` gives; an identity gives the output itself.
    `pooler` is one vector for a text, `pair_head` what is said of two texts in it; identities where
    the model has none.
    """

    def __init__(
        self,
        embed: nn.Module,
        stack: Body,
        head: nn.Module,
        pooler: nn.Module,
        pair_head: nn.Module,
        *,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.embed, self.stack, self.max_length = embed, stack, max_length
        self.head, self.pooler, self.pair_head = head, pooler, pair_head

    @property
    def n_segments(self) -> int:
        """Kinds of segments that tokens can be of; under two, `segments` say nothing."""
        return segments_in(self.embed)

    def hidden(
        self, ids: Tensor, valid: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Ids `b n` -> the stack's output `b n m`; `valid` is true at real tokens, `b n`."""
        x = self.embed(ids) if segments is None else self.embed(ids, segments)
        return self.stack(x, None if valid is None else Padding(valid))

    def pair_logits(self, hidden: Tensor) -> Tensor:
        """`b n m` -> `b 2`: whether the second text follows the first, or their order is right."""
        return self.pair_head(self.pooler(hidden))

    def forward(
        self, ids: Tensor, valid: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Ids `b n` -> what the head gives, `b n v`."""
        return self.head(self.hidden(ids, valid, segments))


@final
class Classifier(nn.Module):
    """A one-part model that labels a text, or each of its tokens.

    `pooler` takes from the stack's output, and from what is valid, the vectors to be labelled.
    `mask` is who sees whom beside padding: `Causal()` in a decoder, None in an encoder.
    """

    def __init__(
        self,
        embed: nn.Module,
        stack: Body,
        pooler: nn.Module,
        head: nn.Linear,
        *,
        mask: Mask | None = None,
        dropout: float = 0.0,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.embed, self.stack, self.mask, self.max_length = embed, stack, mask, max_length
        self.pooler, self.dropout, self.head = pooler, Dropout(dropout), head

    @property
    def n_segments(self) -> int:
        """Kinds of segments that tokens can be of; under two, `segments` say nothing."""
        return segments_in(self.embed)

    def hidden(
        self, ids: Tensor, valid: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Ids `b n` -> the stack's output `b n m`; `valid` is true at real tokens, `b n`."""
        x = self.embed(ids) if segments is None else self.embed(ids, segments)
        if valid is None:
            return self.stack(x, self.mask)
        return self.stack(x, Padding(valid) if self.mask is None else self.mask & Padding(valid))

    def forward(
        self, ids: Tensor, valid: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Ids `b n` -> logits of a text `b c`, or of each token `b n c`."""
        vectors = self.pooler(self.hidden(ids, valid, segments), valid)
        return self.head(self.dropout(vectors))


@final
class ImageEncoder(nn.Module):
    """A one-part model of an image's patches.

    `pooler` makes one vector of the stack's output, and `head` turns it into what `forward` gives;
    an identity gives the vector itself.
    """

    def __init__(
        self, embed: PatchEmbedding, stack: Body, pooler: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        self.embed, self.stack, self.pooler, self.head = embed, stack, pooler, head

    def hidden(self, images: Tensor) -> Tensor:
        """Images `b c h w` -> the stack's output `b n m`, of [class] and the patches in rows."""
        return self.stack(self.embed(images))

    def forward(self, images: Tensor) -> Tensor:
        """Images `b c h w` -> what the head gives, logits `b c` or one vector an image `b m`."""
        return self.head(self.pooler(self.hidden(images)))


def as_encoder_decoder(network: nn.Module) -> EncoderDecoder:
    """The network, if it has two parts.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(network, EncoderDecoder):
        raise ValueError(
            f"{type(network).__name__} is no encoder-decoder, so it turns no text into text"
        )
    return network
