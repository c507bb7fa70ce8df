"""Attention of a recurrent decoder: scores of all keys, weights, and the mixture they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.product import is_heard
from sublayer.layers.score import Score
from sublayer.layers.softmax import softmax
from sublayer.layers.tap import Tap
from sublayer.layers.unrolled import Held, is_recorded


class Focus(nn.Module, ABC):
    """Abstract. Where in the memory is looked at all (Luong et al. 2015, section 3.2)."""

    @abstractmethod
    def forward(self, scores: Tensor, q: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """Masked scores `b q k` -> weights `b q k`.

        `q` is `b q d`, `steps` (`b q`) counts the outputs before, `lengths` (`b 1`) the keys.
        """


@final
class Everywhere(Focus):
    """Global attention: the softmax over all keys (Luong et al. 2015, eq. 7)."""

    def forward(self, scores: Tensor, q: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """Weights `b q k`."""
        return softmax(scores)


class _Window(Focus):
    """Abstract. Only keys at most `reach` places from a centre are seen."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        if reach < 1:
            raise ValueError(f"the window of local attention must reach 1 or more, got {reach}")
        self.reach = reach

    @abstractmethod
    def centre(self, q: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """`b q`, places of keys."""

    def forward(self, scores: Tensor, q: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """Weights `b q k`."""
        centre = self.centre(q, steps, lengths).unsqueeze(-1)  # b q 1
        away = torch.arange(scores.shape[-1], device=scores.device) - centre
        lowest = torch.finfo(scores.dtype).min
        weights = softmax(scores.masked_fill(away.abs() > self.reach, lowest))
        return self.faded(weights, away)

    def faded(self, weights: Tensor, away: Tensor) -> Tensor:
        """Weights `b q k` of keys so far `away` from the centre."""
        return weights


@final
class Monotonic(_Window):
    """local-m: source and target go side by side, so the centre is the output's place (3.2).

    Beyond the source's end it stays there.
    """

    def centre(self, q: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """`b q`, places of keys."""
        return steps.minimum(lengths - 1)


@final
class Predictive(_Window):
    """local-p: the centre is S sigmoid(v tanh(W q)) of S keys, and weights fade from it (3.2).

    They are multiplied by a Gaussian whose deviation is half of the reach (eqs. 9 and 10).
    """

    def __init__(self, d_query: int, reach: int) -> None:
        super().__init__(reach)
        self.inner = nn.Linear(d_query, d_query, bias=False)
        self.place = nn.Linear(d_query, 1, bias=False)

    def centre(self, q: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
        """`b q`, places of keys."""
        share = self.place(torch.tanh(self.inner(q))).squeeze(-1).float().sigmoid()
        return share * lengths

    def faded(self, weights: Tensor, away: Tensor) -> Tensor:
        """Weights `b q k` of keys so far `away` from the centre."""
        return weights * torch.exp(-2 * (away / self.reach) ** 2)


@final
class Alignment(nn.Module):
    """What a decoder takes from the memory: weights by any `Score` and a `Focus`, and a mixture.

    Scores work on the last two axes, so there is no axis of heads, and the queries of beams that
    share a memory stand side by side.
    """

    def __init__(self, score: Score, focus: Focus | None = None) -> None:
        super().__init__()
        self.score, self.focus = score, focus if focus is not None else Everywhere()
        self.weights = Tap()

    def keys(self, memory: Tensor) -> Tensor:
        """What is made of the memory `b k m` once, `b k d`."""
        return self.score.keys(memory)

    def forward(
        self, q: Tensor, keys: Tensor, memory: Tensor, allowed: Tensor | None, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Queries `b q d` -> mixtures `b q m` and weights `b q k`.

        `allowed` is `b 1 k`, false at padding; `steps` (`b q`) counts the outputs before each.
        """
        weights = self._weigh(memory, allowed)(self.score.compare(q, keys), q, steps)
        return weights @ memory, weights

    def unroll(
        self, keys: Tensor, memory: Tensor, allowed: Tensor | None, shape: tuple[int, ...]
    ) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """`forward` for one step after another, which take `q` and `steps`; `shape` is `n b w`.

        In training they cost less than `forward`.
        """
        if not is_recorded() or is_heard(self) or is_heard(self.score):
            return lambda q, steps: self(q, keys, memory, allowed, steps)
        compare, mix = self.score.unroll(keys, shape), Held(memory.mT, shape=shape)
        weigh = self._weigh(memory, allowed)

        def look(q: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
            weights = weigh(compare(q), q, steps)
            return mix(weights), weights

        return look

    def _weigh(
        self, memory: Tensor, allowed: Tensor | None
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """What turns scores `b q k` into weights, of queries and `steps`."""
        if allowed is None:
            hidden, lengths = (
                None,
                torch.full((len(memory), 1), memory.shape[1], device=memory.device),
            )
        else:
            hidden, lengths = ~allowed, allowed.sum(-1)

        def weigh(scores: Tensor, q: Tensor, steps: Tensor) -> Tensor:
            if hidden is not None:
                scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
            return self.focus(scores, q, steps, lengths).to(memory.dtype)

        return weigh
