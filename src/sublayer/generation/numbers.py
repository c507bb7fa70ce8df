"""What a model must give."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan


def check_numbers(logprobs: Iterable[float]) -> None:
    """That log-probabilities of what was chosen are numbers.

    Raises:
        ValueError: one is none: some weight, or what came of the weights, is infinite or no number.
    """
    if any(map(isnan, logprobs)):
        raise ValueError(
            "the model gives no numbers (NaN) for what comes next: its training diverged, or its "
            "weights are damaged"
        )
