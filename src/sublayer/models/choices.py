"""Parts by the words that recipes have for them, and the keys that families choose them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

from pydantic import PositiveFloat, PositiveInt
from torch import nn

from sublayer.layers.attend import Dense
from sublayer.layers.feedforward import ACTIVATIONS, FeedForward, GatedFeedForward
from sublayer.layers.norm import RMSNorm
from sublayer.layers.position import Learned, Position, Sinusoidal
from sublayer.layers.relative import Alibi, Buckets, Shaw
from sublayer.layers.residual import PostNorm, PreNorm, Residual, SandwichNorm
from sublayer.layers.rotary import Rotary, plain
from sublayer.layers.score import (
    Additive,
    ContentBased,
    Dot,
    General,
    LocationBased,
    ScaledDot,
    Score,
)
from sublayer.models.base import FamilyConfig, Fraction

N_BUCKETS = 32
FARTHEST = {"buckets": 128, "shaw": 16}
"""What the papers have: Raffel et al. 2020, section 2.1; Shaw et al. 2018, section 4.1."""


@final
@dataclass(frozen=True)
class Places:
    """What position schemes are made from; in `both_ways`, a token sees what comes later too."""

    d_added: int
    n_heads: int
    d_head: int
    max_length: int
    farthest: int
    both_ways: bool


PositionName = Literal["sinusoidal", "learned", "rotary", "buckets", "alibi", "shaw", "none"]
POSITIONS: dict[PositionName, Callable[[Places], Position]] = {
    "sinusoidal": lambda p: Sinusoidal(p.max_length, p.d_added),
    "learned": lambda p: Learned(p.max_length, p.d_added),
    "rotary": lambda p: Rotary(plain(p.d_head)),
    "buckets": lambda p: Buckets(p.n_heads, N_BUCKETS, p.farthest, both_ways=p.both_ways),
    "alibi": lambda p: Alibi(p.n_heads),
    "shaw": lambda p: Position(),  # a score, see `PartsConfig._attend`
    "none": lambda p: Position(),  # Haviv et al. 2022: what a causal mask tells is enough
}

ScoreName = Literal["scaled_dot", "dot", "general", "additive", "content", "location"]
SCORES: dict[ScoreName, Callable[[int, int, int], Score]] = {
    # of the widths of queries and keys, and the longest sequence
    "scaled_dot": lambda q, k, n: ScaledDot(),
    "dot": lambda q, k, n: Dot(),
    "general": lambda q, k, n: General(q, k),
    "additive": lambda q, k, n: Additive(q, k, q),
    "content": lambda q, k, n: ContentBased(),
    "location": lambda q, k, n: LocationBased(q, n),
}
CausalScoreName = Literal["scaled_dot", "dot", "general", "additive", "content"]
"""Without location, which counts places in a row and not from where a text of its own begins."""

NormName = Literal["post", "pre", "sandwich"]
NORMS: dict[NormName, Callable[[nn.Module, Callable[[], nn.Module], float], Residual]] = {
    "post": lambda layer, norm, dropout: PostNorm(layer, norm(), dropout),
    "pre": lambda layer, norm, dropout: PreNorm(layer, norm(), dropout),
    "sandwich": lambda layer, norm, dropout: SandwichNorm(layer, norm(), norm(), dropout),
}
NormKind = Literal["layer", "rms"]
NORM_KINDS: dict[NormKind, Callable[[int, float], nn.Module]] = {
    "layer": nn.LayerNorm,
    "rms": RMSNorm,
}
ActivationName = Literal["relu", "gelu", "gelu_tanh", "silu"]


class PartsConfig(FamilyConfig):
    """Abstract. The keys that choose parts, alike in every family that has them.

    What stands here without a value has another one in each family.
    """

    d_model: PositiveInt
    n_heads: PositiveInt
    max_length: PositiveInt
    dropout: Fraction
    attention_dropout: Fraction
    position: PositionName
    farthest: PositiveInt | None = None
    """Distance from which on all are alike, of buckets (None: 128) and shaw (None: 16)."""
    norm: NormName
    norm_kind: NormKind = "layer"
    norm_eps: PositiveFloat
    activation: ActivationName
    gated: bool = False
    """Whether the feed-forward has a gate, and then no biases (Shazeer 2020)."""
    score: ScoreName = "scaled_dot"

    @property
    def width(self) -> int:
        """Of a head."""
        return self.d_model // self.n_heads

    @property
    def d_added(self) -> int:
        """Width of the embeddings that positions are added to."""
        return self.d_model

    @property
    def bound(self) -> int | None:
        """The longest sequence there are places for; None if there is no limit."""
        is_bounded = self.position == "learned" or self.score == "location"
        return self.max_length if is_bounded else None

    def departures(self) -> list[str]:
        """Parts that are not those the family was published with: "norm = 'pre'"."""
        published = type(self).model_fields
        ours: dict[str, Any] = self.model_dump(
            include={"position", "norm", "norm_kind", "gated", "score"}
        )
        return [f"{key} = {v!r}" for key, v in ours.items() if v != published[key].default]

    def _check_parts(self) -> None:
        """For validators, after heads were found to fit.

        Raises:
            ValueError: two parts exclude each other, or one has not the width that it needs.
        """
        if self.position == "sinusoidal" and self.d_added % 2:
            raise ValueError(
                f"sinusoidal positions need embeddings of an even width, got {self.d_added}; "
                "use learned positions"
            )
        if self.position == "rotary" and self.width % 2:
            raise ValueError(f"rotary positions need heads of even width, got {self.width}")
        if self.position == "shaw" and self.score != "scaled_dot":
            raise ValueError(
                "position = 'shaw' is a score and takes the place of scaled_dot, so it does not "
                f"go with score = '{self.score}'; leave one out"
            )
        if self.farthest is not None and self.position not in FARTHEST:
            raise ValueError(
                f"farthest is for position = 'buckets' or 'shaw', not '{self.position}'; "
                "leave it out"
            )
        if self.position == "buckets" and self.farthest in range(N_BUCKETS // 2 + 1):
            raise ValueError(
                f"farthest {self.farthest} leaves nothing for the wide buckets; "
                f"it must be over {N_BUCKETS // 2}"
            )

    def _farthest(self) -> int:
        return self.farthest or FARTHEST.get(self.position, 0)

    def _scheme(self, *, both_ways: bool) -> Position:
        """The positions of one stack."""
        return POSITIONS[self.position](
            Places(
                self.d_added,
                self.n_heads,
                self.width,
                self.max_length,
                self._farthest(),
                both_ways,
            )
        )

    def _attend(self, *, own: bool = True) -> Dense:
        """For one layer, of tokens that look at their `own` sequence or at another."""
        score = SCORES[self.score](self.width, self.width, self.max_length)
        if own and self.position == "shaw":
            score = Shaw(self.width, self._farthest())
        return Dense(score, self.attention_dropout)

    def _norm(self, width: int | None = None) -> nn.Module:
        """`width` None: of the model."""
        return NORM_KINDS[self.norm_kind](width or self.d_model, self.norm_eps)

    def _last_norm(self) -> nn.Module:
        """Of a stack; post-norm blocks end with one already."""
        return nn.Identity() if self.norm == "post" else self._norm()

    def _residual(self, layer: nn.Module) -> Residual:
        return NORMS[self.norm](layer, self._norm, self.dropout)

    def _feedforward(self, d_ff: int, *, bias: bool | None = None) -> nn.Module:
        """`bias` None: as the papers have it, with ones where there is no gate."""
        return (GatedFeedForward if self.gated else FeedForward)(
            self.d_model,
            d_ff,
            ACTIVATIONS[self.activation],
            bias=not self.gated if bias is None else bias,
        )
