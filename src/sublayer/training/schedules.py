"""The learning rate as a function of the step and of the share of the run that is over."""

from __future__ import annotations

import math
from collections.abc import Callable

from sublayer.config.schema import Schedule

Rate = Callable[[int, float], float]
"""(step from 1, progress in [0, 1]) -> learning rate."""


def paper(lr: float, warmup: int, d_model: int) -> Rate:
    """lr m^-0.5 min(step^-0.5, step warmup^-1.5) (Vaswani et al. 2017, eq. 3)."""
    warm = max(warmup, 1)
    return lambda step, progress: lr * d_model**-0.5 * min(step**-0.5, step * warm**-1.5)


def cosine(lr: float, warmup: int, final: float) -> Rate:
    """Linear warm-up, half a cosine down to `final` times the peak (Loshchilov & Hutter 2017)."""
    return _warmed(warmup, lambda p: lr * (final + (1 - final) * (1 + math.cos(math.pi * p)) / 2))


def linear(lr: float, warmup: int, final: float) -> Rate:
    """Linear warm-up, then a straight line down to `final` times the peak (Devlin et al. 2019)."""
    return _warmed(warmup, lambda p: lr * (1 - (1 - final) * p))


def warmup_stable_decay(lr: float, warmup: int, final: float, decay: float) -> Rate:
    """Linear warm-up, the peak, then over the last share `decay` a line down.

    Hu et al. 2024 (MiniCPM), section 4.
    """
    return _warmed(warmup, lambda p: lr * (1 - (1 - final) * max(0.0, (p - (1 - decay)) / decay)))


def constant(lr: float, warmup: int) -> Rate:
    """Linear warm-up, then the peak."""
    return _warmed(warmup, lambda p: lr)


def _warmed(warmup: int, after: Callable[[float], float]) -> Rate:
    return lambda step, progress: after(min(progress, 1.0)) * min(1.0, step / max(warmup, 1))


def make_schedule(schedule: Schedule, d_model: int) -> Rate:
    """The schedule a recipe asks for."""
    s = schedule
    return {
        "paper": lambda: paper(s.lr, s.warmup, d_model),
        "cosine": lambda: cosine(s.lr, s.warmup, s.final),
        "linear": lambda: linear(s.lr, s.warmup, s.final),
        "wsd": lambda: warmup_stable_decay(s.lr, s.warmup, s.final, s.decay),
        "constant": lambda: constant(s.lr, s.warmup),
    }[s.kind]()
