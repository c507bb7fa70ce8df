"""What a model answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One answer: `text` for people, `fields` for machines."""

    text: str
    fields: dict[str, Any]
