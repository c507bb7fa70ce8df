"""Who listens to a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sublayer.tasks.base import Sample
from sublayer.training.every import Moment


class Listener(ABC):
    """Abstract. Hears what a run does; never changes it."""

    @abstractmethod
    def on_step(self, moment: Moment) -> None:
        """After each step of the optimizer."""

    @abstractmethod
    def on_record(self, record: dict[str, Any]) -> None:
        """After each line of the log."""

    @abstractmethod
    def on_samples(self, samples: list[Sample]) -> None:
        """After each validation."""

    @abstractmethod
    def on_end(self) -> None:
        """When the run stops, for whatever reason."""
