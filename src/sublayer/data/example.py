"""What data is made of before it is ids: one class for each shape an example can have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from sublayer.data.pair import Pair


@dataclass(frozen=True, slots=True)
class Document:
    """A text that stands for itself; `name` says where it is from."""

    text: str
    name: str


@dataclass(frozen=True, slots=True)
class Tagged:
    """Words, each with its tag."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a text, and the passages of the text that answer it; none if it has none."""

    question: str
    context: str
    answers: tuple[tuple[int, str], ...]
    """First character in the context, and the text from there."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels `c h w` (uint8) and what they show."""

    pixels: NDArray[np.uint8]
    label: str


Example = Pair | Document | Tagged | Question | Picture

Group = tuple[bytes, Iterable[Example]]
"""What decides the split of some examples, and these; they need not be read before asked for."""


def split_key(example: Example) -> bytes:
    """What decides the split of an example: its source, so that no source stands in two splits."""
    match example:
        case Pair(source, _, second):
            return source.encode() if second is None else f"{source}\0{second}".encode()
        case Document(text, name):
            return (name or text).encode()
        case Tagged(words, _):
            return " ".join(words).encode()
        case Question(_, context, _):
            return context.encode()
        case Picture(pixels, _):
            return sha256(pixels.tobytes()).digest()
