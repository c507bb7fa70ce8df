"""How a query meets a key: the six alignment scores of the literature.

A score works on the last two axes, so the same one serves multi-head attention (`b h q d`) and an
RNN decoder without a head axis (`b q d`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sublayer.layers.precision import widened
from sublayer.layers.product import is_plain, through
from sublayer.layers.unrolled import Held

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

    def unroll(self, keys: Tensor, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        """`compare` for one step of training after another, `b w d` -> `b w k`.

        `shape` is that of all steps, `n b w`.
        """
        return lambda q: self.compare(q, keys)


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

    def unroll(self, keys: Tensor, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        """`b w d` -> `b w k`."""
        return Held(keys, shape=shape)


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

    def unroll(self, keys: Tensor, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        """`b w d` -> `b w k`."""
        product = Held(keys, shape=shape)
        query = Held(self.weight.weight, shape=shape) if is_plain(self.weight) else self.weight
        return lambda q: product(query(q))


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
        return through(self.key, k)

    def compare(self, q: Tensor, keys: Tensor, frame: Frame | None = None) -> Tensor:
        """The scores, from what `keys` gave."""
        joined = self.query(q).unsqueeze(-2) + keys.unsqueeze(-3)  # ... q k width
        return self.energy(torch.tanh(joined)).squeeze(-1)

    def unroll(self, keys: Tensor, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        """`b w d` -> `b w k`."""
        if not is_plain(self.energy):
            return super().unroll(keys, shape)
        query = Held(self.query.weight, shape=shape) if is_plain(self.query) else self.query
        keys, energy = 2 * widened(keys), widened(self.energy.weight[0])

        def compare(q: Tensor) -> Tensor:
            nonlocal keys, energy
            given = _Energies.apply(widened(query(q)), keys, energy)  # type: ignore[no-untyped-call]
            scores, keys, energy = given
            return scores

        return compare


class _Energies(torch.autograd.Function):
    """v . tanh(q + k) for one step, `b w d`, `b k d` (twice the key) and `d` -> `b w k`.

    By tanh x = 2 sigmoid(2 x) - 1, which is much the faster on a CPU. Nothing as large as all pairs
    is kept: it is made again on the way back. The keys and `v` are given on to the next step, so
    that the gradients come from there and this one's are added where they stand.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(q, k, v)
        ctx.set_materialize_grads(False)
        with torch.autocast(q.device.type, enabled=False):
            scores = (_pairs(q, k) @ v).mul_(2).sub_(v.sum())
        return scores, k.view_as(k), v.view_as(v)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor | None, d_k: Tensor | None, d_v: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, d_k, d_v
        q, k, v = ctx.saved_tensors
        s = _pairs(q, k)  # b w k d
        d_v = torch.zeros_like(v) if d_v is None else d_v
        d_v.addmv_(s.flatten(0, 2).T, grad.flatten(), alpha=2).sub_(grad.sum())
        slopes = s.addcmul_(s, s, value=-1).mul_(v)  # a quarter of v (1 - tanh^2)
        d_q = (grad.unsqueeze(-2) @ slopes).squeeze(-2).mul_(4)
        d_k = torch.zeros_like(k) if d_k is None else d_k
        for one, of_one in zip(slopes.unbind(1), grad.unbind(1), strict=True):
            d_k.addcmul_(one, of_one.unsqueeze(-1), value=2)
        return d_q, d_k, d_v


def _pairs(q: Tensor, k: Tensor) -> Tensor:
    """sigmoid(2 q + k), `b w k d`."""
    return torch.add(k.unsqueeze(1), q.unsqueeze(2), alpha=2).sigmoid_()


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
