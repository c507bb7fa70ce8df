"""What an objective gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """Sums over a batch, never means: only the whole step knows how many tokens it divides by."""

    total: Tensor
    """What is minimized: a sum over tokens, a scalar with a gradient."""
    parts: dict[str, Tensor]
    """Sums worth watching, without gradient; `nll` is in nats."""
    tokens: int
    """What `total` is a sum over."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What a part is a sum over, where that is not `tokens`."""


class Objective(ABC):
    """Abstract. `(model, batch) -> Loss`; which models and batches, each objective says itself."""

    @abstractmethod
    def __call__(self, model: Any, batch: Any) -> Loss:
        """The loss of a batch."""
