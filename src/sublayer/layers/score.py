"""How a query meets a key: the six alignment scores of the literature.

A score works on the last two axes, so the same one serves multi-head attention (`b h q d`) and an
RNN decoder without a head axis (`b q d`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from sublayer.layers.frame import Frame


class Score(nn.Module):
    """Abstract. `... q d`, `... k d` -> `... q k`; `frame` is for scores that look at positions."""

    def forward(self, q: Tensor, k: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores before the softmax."""
        raise NotImplementedError

    def as_dot(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float] | None:
        """The score as `scale * q' k'^T`, for fused kernels; None if it is no such product."""
        return None

    def keys(self, k: Tensor) -> Tensor:
        """What can be made of `... k d` once, for queries that come one after another."""
        return k

    def compare(self, q: Tensor, keys: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores, from what `keys` gave."""
        return self(q, keys, frame)


class _DotForm(Score):
    """Abstract. A scaled product of changed queries and keys, which `as_dot` gives."""

    def as_dot(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        """Changed queries, changed keys, scale."""
        raise NotImplementedError

    def forward(self, q: Tensor, k: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores before the softmax."""
        q, k, scale = self.as_dot(q, k)
        if scale == 1:
            return q @ k.mT
        # the smaller of the two tensors is scaled
        return (q * scale) @ k.mT if k.shape[-2] > q.shape[-1] else (q @ k.mT) * scale


@final
class Dot(_DotForm):
    """q . k (Luong et al. 2015, eq. 8, dot)."""

    def as_dot(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        """As it is."""
        return q, k, 1.0


@final
class ScaledDot(_DotForm):
    """q . k / sqrt(d) (Vaswani et al. 2017, eq. 1)."""

    def as_dot(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        """Scaled by the width of the query."""
        return q, k, q.shape[-1] ** -0.5


@final
class General(_DotForm):
    """q W k (Luong et al. 2015, eq. 8, general)."""

    def __init__(self, d_query: int, d_key: int) -> None:
        super().__init__()
        self.weight = nn.Linear(d_query, d_key, bias=False)

    def as_dot(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        """The query carried into the key's space."""
        return self.weight(q), k, 1.0


@final
class ContentBased(_DotForm):
    """beta cos(q, k) (Graves et al. 2014, eqs. 5 and 6), with one learned strength beta > 0.

    A cosine lies in [-1, 1], so without a strength the softmax could never single out a key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_strength = nn.Parameter(torch.zeros(()))

    def as_dot(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        """Unit vectors; the strength goes with the query."""
        return F.normalize(q, dim=-1) * self.log_strength.exp(), F.normalize(k, dim=-1), 1.0


@final
class Additive(Score):
    """v . tanh(W q + U k) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, d_query: int, d_key: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_query, width, bias=False)
        self.key = nn.Linear(d_key, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)

    def forward(self, q: Tensor, k: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores before the softmax; needs `... q k width` numbers on the way."""
        return self.compare(q, self.keys(k), frame)

    def keys(self, k: Tensor) -> Tensor:
        """U k."""
        return self.key(k)

    def compare(self, q: Tensor, keys: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores, from what `keys` gave."""
        joined = self.query(q).unsqueeze(-2) + keys.unsqueeze(-3)  # ... q k width
        return self.energy(torch.tanh(joined)).squeeze(-1)


@final
class LocationBased(Score):
    """W q: where to look from the query alone (Luong et al. 2015, eq. 9, location)."""

    def __init__(self, d_query: int, max_length: int) -> None:
        super().__init__()
        self.weight = nn.Linear(d_query, max_length, bias=False)

    def forward(self, q: Tensor, k: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores before the softmax.

        Raises:
            ValueError: more keys than places the score was made for.
        """
        places, n, scores = self.weight.out_features, k.shape[-2], self.weight(q)  # ... q places
        in_slots = frame is not None and frame.q_pos is not frame.k_pos
        if frame is not None and in_slots and frame.k_pos.ndim == 2:
            # what stands beyond all places is padding
            where = frame.k_pos.clamp_max(places - 1)[:, None, None]
            return scores.gather(-1, where.expand(*scores.shape[:-1], -1))
        if n > places and (frame is None or int(frame.k_pos.max()) >= places):
            raise ValueError(
                f"{n} keys, but the location score has {places} places; raise its max_length"
            )
        return scores[..., frame.k_pos] if frame is not None and in_slots else scores[..., :n]
