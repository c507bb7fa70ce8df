"""Positions that matter only as distances: added to the scores, or scored by themselves."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.frame import Frame
from sublayer.layers.position import Position
from sublayer.layers.score import Score


def distances(q_pos: Tensor, k_pos: Tensor) -> Tensor:
    """Key minus query, `q k` or `b q k`."""
    return k_pos.unsqueeze(-2) - q_pos.unsqueeze(-1)


def bucket(distance: Tensor, n_buckets: int, farthest: int, *, both_ways: bool) -> Tensor:
    """The bucket of a distance: one each for the near half, logarithmically wider ones beyond.

    Raffel et al. 2020, section 2.1. `both_ways` gives keys behind and before the query halves of
    their own; otherwise all that comes later shares the bucket of distance 0.
    """
    if both_ways:
        n_buckets //= 2
        offset, away = (distance > 0).long() * n_buckets, distance.abs()
    else:
        offset, away = torch.zeros_like(distance), (-distance).clamp_min(0)
    exact = n_buckets // 2
    far = torch.log(away.clamp_min(1).float() / exact) / math.log(farthest / exact)
    wide = (exact + (far * (n_buckets - exact)).long()).clamp_max(n_buckets - 1)
    return offset + torch.where(away < exact, away, wide)


@final
class Buckets(Position):
    """T5's relative positions: one learned number a bucket and head (Raffel et al. 2020, 2.1).

    Raises:
        ValueError: the distances with buckets of their own go as far as `farthest`.
    """

    def __init__(
        self, n_heads: int, n_buckets: int = 32, farthest: int = 128, *, both_ways: bool
    ) -> None:
        super().__init__()
        exact = n_buckets // (4 if both_ways else 2)
        if farthest <= exact:
            raise ValueError(
                f"farthest {farthest} leaves nothing for the wide ones of {n_buckets} buckets; "
                f"it must be over {exact}"
            )
        self.table = nn.Embedding(n_buckets, n_heads)
        self.farthest, self.both_ways = farthest, both_ways

    def bias(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """What is added to the scores, `h q k` or `b h q k`."""
        places = bucket(
            distances(q_pos, k_pos),
            self.table.num_embeddings,
            self.farthest,
            both_ways=self.both_ways,
        )
        return self.table(places).movedim(-1, -3)


def slopes(n_heads: int) -> Tensor:
    """2^(-8/n), 2^(-16/n), ...; for other than powers of two the rest from twice as many.

    Press et al. 2022, section 3 and footnote 8.
    """
    power = 2 ** int(math.log2(n_heads))
    own = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    between = [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * (n_heads - power), 2)]
    return torch.tensor(own + between)


@final
class Alibi(Position):
    """Minus the distance, times a slope of the head's own (Press et al. 2022, "ALiBi")."""

    slopes: Tensor

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", slopes(n_heads), persistent=False)

    def bias(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        """What is added to the scores, `h q k` or `b h q k`."""
        away = distances(q_pos, k_pos).abs().unsqueeze(-3)
        return -away * self.slopes[:, None, None]


@final
class Shaw(Score):
    """q . (k + a) / sqrt(d), with a learned vector `a` a distance up to `farthest` either way.

    Shaw et al. 2018, eqs. 2, 4 and 5. The vectors on the values (eq. 3) are left out: the paper
    measures no gain from them (table 3).
    """

    def __init__(self, d_head: int, farthest: int) -> None:
        super().__init__()
        self.table = nn.Embedding(2 * farthest + 1, d_head)
        self.farthest = farthest

    def forward(self, q: Tensor, k: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores before the softmax; `q` and `k` have a head axis.

        A product with all vectors of the table, then a choice by distance: `... q k d` is never
        made.
        """
        assert frame is not None, "relative positions come with the frame"
        by_distance = q @ self.table.weight.to(q.dtype).T  # b h q (2 farthest + 1)
        places = distances(frame.q_pos, frame.k_pos).clamp(-self.farthest, self.farthest)
        places = (places + self.farthest).unsqueeze(-3)
        chosen = by_distance.gather(-1, places.expand(*by_distance.shape[:-1], -1))
        return (q @ k.mT + chosen) * q.shape[-1] ** -0.5
