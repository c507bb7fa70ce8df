"""How a quantized encoder-decoder is gone through, in the names of its tensors: `plan.json`.

By it the network can be run without the classes it was built of, and without PyTorch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from sublayer.config.section import Section

PLAN = "plan.json"
ActName = Literal["none", "relu", "silu", "gelu_tanh"]


class Norm(Section):
    """A LayerNorm."""

    name: str
    eps: float


class Sublayer(Section):
    """Two products, and a LayerNorm before the first or after the sum with the stream."""

    norm: Norm
    is_post: bool
    first: list[str]
    """Linear layers side by side: queries, and keys and values of the same sequence; or one."""
    last: str
    act: ActName = "none"
    n_heads: int = 0
    """Of queries; 0 where nothing is attended to."""
    n_groups: int = 0
    """Of keys."""
    memory: list[str] = Field(default=[])
    """Where the keys and values come from, if it is another sequence."""


class Stack(Section):
    """Sublayers in a row, and a LayerNorm at the end."""

    sublayers: list[Sublayer]
    norm: Norm | None = None


class Words(Section):
    """A table of tokens, what its rows are multiplied by, and the positions that are added.

    They are rows of a table from `skipped` on, or sinusoids if it has no name.
    """

    table: str
    scale: float
    positions: str | None = None
    skipped: int = 0
    halves: bool = False
    """Whether all sines stand before all cosines."""


class Plan(Section):
    """An encoder-decoder, whose `head` is a linear layer."""

    version: Literal[1] = 1
    source: Words
    target: Words
    encoder: Stack
    decoder: Stack
    head: str
    max_length: int | None = None
    """The longest sequence there are places for."""
    n_tensors: int
    """Of all: a bias that is missing is not one that was never there."""


def read_plan(folder: Path) -> Plan | None:
    """The plan of a folder; None if it has none that is known here."""
    try:
        return Plan.model_validate_json((folder / PLAN).read_bytes())
    except (OSError, ValidationError):
        return None


def plan_text(plan: Plan) -> str:
    """What is written of a plan."""
    return plan.model_dump_json(indent=1, exclude_defaults=True) + "\n"
