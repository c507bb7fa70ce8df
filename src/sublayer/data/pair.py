"""One example: a text and what is to be made of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """A source text and one or more targets, each of them right.

    Targets are texts to write, or the labels of the source. `second` is a text beside the source,
    where a label is about two.
    """

    source: str
    targets: tuple[str, ...]
    second: str | None = None


def make_pair(source: object, target: object, where: str, *second: object) -> Pair:
    """A pair from values of any type that were found at `where`; the target may be a list of texts.

    A number may stand for a target, as a label or a value to learn; it is taken as it is written.
    `second` is nothing, or one value.

    Raises:
        ValueError: a value is not text, cannot be written as UTF-8, or is an empty list.
    """
    targets = target if isinstance(target, list) else [target]
    if not targets:
        raise ValueError(f"the target of {where} is an empty list: give at least one text")
    return Pair(
        _text(source, f"the source of {where}"),
        tuple(_text(_written(t), f"the target of {where}") for t in targets),
        _text(second[0], f"the second text of {where}") if second else None,
    )


def _written(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is of type {type(value).__name__}: give text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} has half of a surrogate pair as character {error.start + 1}: remove it"
        ) from error
    return value
