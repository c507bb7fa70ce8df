"""Numbers of word vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sublayer.metrics.classification import correlation, ranked
from sublayer.metrics.running import Score


def rank_correlation(
    cosines: NDArray[np.floating], told: NDArray[np.floating], lines: int
) -> Score:
    """Spearman's correlation of cosines with what people say, on the known ones of all lines."""
    value = correlation(ranked(cosines.astype(np.float64)), ranked(told.astype(np.float64)))
    return Score(value, f"spearman|cosine|ties:mean|known:{len(told)}/{lines}")


def analogies_solved(solved: Sequence[bool], lines: int) -> Score:
    """The share of analogies that are right, of the known ones of so many lines."""
    value = sum(solved) / len(solved)
    return Score(value, f"accuracy|3cosadd|known:{len(solved)}/{lines}")
