"""Words of a text and the words around them, for many places at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

GROUP = 16
"""Neighbouring places that are computed together; what is around them overlaps."""


@final
@dataclass(frozen=True)
class Windows:
    """Places of a text in groups, and what is around each.

    centres  g t    int64, ids of neighbouring places
    around   g s    int64, s = t + 2 window: ids of these and of those before and after
    near     g t s  bool, which of these are in the place's window
    noise    g k    int64, ids drawn for the group; k may be 0
    tokens, read    see `Step`
    """

    centres: Tensor
    around: Tensor
    near: Tensor
    noise: Tensor
    tokens: int
    read: int

    @property
    def inputs(self) -> Tensor:
        """What the network is called with."""
        return self.centres

    def to(self, device: torch.device | str) -> Windows:
        """The same batch on `device`, copied without waiting where that is possible."""
        return Windows(
            self.centres.to(device, non_blocking=True),
            self.around.to(device, non_blocking=True),
            self.near.to(device, non_blocking=True),
            self.noise.to(device, non_blocking=True),
            self.tokens,
            self.read,
        )


def grouped(
    ids: NDArray[np.integer], texts: NDArray[np.integer], widths: NDArray[np.integer], window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`centres`, `around` and `near` of `Windows`.

    `ids` are words in order, `texts` the number of the text each is of, `widths` how many words
    before and after it are near, at most `window`; all `n`. The last group is filled with places
    that nothing is near.
    """
    groups = max(1, -(-len(ids) // GROUP))
    size = groups * GROUP
    padded, of_text = np.zeros(size + 2 * window, np.int64), np.full(size + 2 * window, -1)
    padded[window : window + len(ids)] = ids
    of_text[window : window + len(ids)] = texts
    reach = np.zeros(size, np.int64)
    reach[: len(ids)] = widths
    spans = sliding_window_view(padded, GROUP + 2 * window)[::GROUP]
    spans_of = sliding_window_view(of_text, GROUP + 2 * window)[::GROUP]
    distance = np.abs(np.arange(GROUP + 2 * window) - window - np.arange(GROUP)[:, None])
    distance[distance == 0] = window + 1  # a word is not around itself
    near = distance <= reach.reshape(groups, GROUP, 1)
    near &= spans_of[:, window : window + GROUP, None] == spans_of[:, None]
    around = torch.from_numpy(spans.copy())
    return around[:, window : window + GROUP], around, torch.from_numpy(near)


def keep_probability(counts: Sequence[int], sample: float) -> NDArray[np.float64]:
    """How likely a word stays in the text: sqrt(t / f) + t / f, at most 1; 0 keeps all.

    f is the word's share of the text, t is `sample`. That is word2vec's own code; Mikolov et al.
    2013b, eq. 5, has the root alone.
    """
    if not sample:
        return np.ones(len(counts))
    with np.errstate(divide="ignore"):  # a word that is not there would stay
        ratio = sample * sum(counts) / np.array(counts, np.float64)
    return np.minimum(np.sqrt(ratio) + ratio, 1.0)


def noise_distribution(counts: Sequence[int]) -> NDArray[np.float64]:
    """How likely a word is noise: its count to the power 3/4, shared out (Mikolov et al. 2013b)."""
    weights = np.array(counts, np.float64) ** 0.75
    return weights / weights.sum()
