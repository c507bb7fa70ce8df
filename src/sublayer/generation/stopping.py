"""When a text is finished: at a token, at a limit of its own, or before a string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Ids(Protocol):
    """Special ids, of which a vocabulary may lack some."""

    @property
    def pad(self) -> int | None:
        """Padding."""

    @property
    def bos(self) -> int | None:
        """The begin of a text."""

    @property
    def eos(self) -> int | None:
        """The end of a text."""


@dataclass(frozen=True)
class Stops:
    """Which tokens end a text, and which are never written."""

    ends: tuple[int, ...] = ()
    never: tuple[int, ...] = ()

    @classmethod
    def of(cls, special: Ids) -> Stops:
        """The end ends; padding and begin are not written, unless they are the end too."""
        ends = () if special.eos is None else (special.eos,)
        never = (id for id in (special.pad, special.bos) if id is not None and id not in ends)
        return cls(ends, tuple(dict.fromkeys(never)))


def check_stop(stop: Sequence[str]) -> None:
    """For validators of options.

    Raises:
        ValueError: it is one string, or one of them is empty.
    """
    if isinstance(stop, str) or not all(stop):
        raise ValueError(f"stop must be a tuple of strings that are not empty: {stop!r}")


def cut(text: str, stop: Sequence[str]) -> tuple[str, str, bool]:
    """What of `text` is certain, what may be the beginning of a stop string, whether one is there.

    Of a text with a stop string, what stands before it is certain, and nothing is held.
    """
    found = [at for string in stop if (at := text.find(string)) >= 0]
    if found:
        return text[: min(found)], "", True
    held = max(
        (n for string in stop for n in range(1, len(string)) if text.endswith(string[:n])),
        default=0,
    )
    return text[: len(text) - held], text[len(text) - held :], False
