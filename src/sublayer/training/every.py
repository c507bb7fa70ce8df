"""How often something happens, in whatever unit its user thinks in."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """Where a run stands."""

    step: int
    epoch: float
    """Epochs passed, the running one in part."""
    minutes: float
    """Wall-clock minutes of training, as recorded."""
    progress: float
    """Share of the whole run, 0 to 1."""


START = Moment(0, 0.0, 0.0, 0.0)

UNITS = {"step": "step", "epoch": "epoch", "min": "minutes", "minute": "minutes"}


@dataclass(frozen=True)
class Every:
    """An interval in steps, epochs, minutes or per cent of the run."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read "500 steps", "2 epochs", "10 min" or "5 %".

        Raises:
            ValueError: it is none of these.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|[a-z]+?)s?\s*", text)
        if match and float(match[1]) > 0:
            if match[2] == "%":
                return cls(float(match[1]) / 100, "progress")
            if match[2] in UNITS:
                return cls(float(match[1]), UNITS[match[2]])
        raise ValueError(
            f"'{text}' is no interval; write for example '500 steps', '2 epochs', '10 min' or '5 %'"
        )

    def is_due(self, before: Moment, now: Moment) -> bool:
        """Whether a multiple of the interval lies between two moments."""
        return int(self._count(now)) > int(self._count(before))

    def _count(self, moment: Moment) -> float:
        where = {
            "step": moment.step,
            "epoch": moment.epoch,
            "minutes": moment.minutes,
            "progress": moment.progress,
        }[self.unit]
        return where / self.amount + 1e-9  # so that 3 x 0.1 counts as 0.3
