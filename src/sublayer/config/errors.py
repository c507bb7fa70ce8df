"""What pydantic finds wrong, in words for who wrote it: where, what, and the nearest known name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sublayer.config.registry import nearest

SHOWN = 5
"""Mistakes told at once: one has often caused those after it."""

WORDS = {
    "missing": "is missing",
    "dict_type": "should be a section with keys of its own",
    "model_type": "should be a section with keys of its own",
    "json_invalid": "is nested too deeply",
}
"""Our words for some types of error; pydantic's own messages will do for the rest."""

_Model = type[BaseModel]


def sentence(error: Exception) -> str:
    """What an error says to who can mend it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def explain(error: ValidationError, model: _Model, place: Callable[[str], str]) -> ValueError:
    """One line for each mistake: its place, its dotted key, what is wrong, what to write instead.

    `model` is the class that was validated; `place` says where a key was written: in which file.
    """
    mistakes: dict[str, list[str]] = {}
    for details in error.errors(include_url=False):
        key, known = _locate(details, model)
        found = mistakes.setdefault(key, [])
        words = _words(details, key, known)
        if words not in found:
            found.append(words)
    # A value that fits no type of a union has one error for each type: they stand in one line.
    lines = [
        ": ".join(filter(None, (place(key), key, " or ".join(w)))) for key, w in mistakes.items()
    ]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"and {len(lines) - SHOWN} more"]
    return ValueError("\n".join(lines))


def _locate(details: ErrorDetails, model: _Model) -> tuple[str, list[str]]:
    """The dotted key of a mistake, and what could stand there: names of keys, or kinds.

    Between the keys pydantic names the type of each union it tried; the user wrote no such thing.
    """
    key, parent = "", model
    options = [model]
    for part in details["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif len(options) > 1:
            options = [option for option in options if part in _kinds(option)]
        elif options:
            parent = options[0]
            key = f"{key}.{part if part.isprintable() else ascii(part)}".removeprefix(".")
            options = _models(parent, part)
        else:
            break
    if details["type"].startswith("union_tag"):
        return f"{key}.kind", [kind for option in options for kind in _kinds(option)]
    return key, list(parent.model_fields)


def _models(model: _Model, name: str) -> list[_Model]:
    """The models a key may hold: several if `kind` tells them apart, none for a plain value."""
    if name not in model.model_fields:
        return []
    annotation = model.model_fields[name].annotation
    options = get_args(annotation) or (annotation,)
    return [
        option for option in options if isinstance(option, type) and issubclass(option, BaseModel)
    ]


def _kinds(model: _Model) -> tuple[str, ...]:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind and get_origin(kind.annotation) is Literal else ()


def _words(details: ErrorDetails, key: str, known: list[str]) -> str:
    """What is wrong with the value of `key`."""
    error, value, context = details["type"], details["input"], details.get("ctx", {})
    if error in WORDS:
        return WORDS[error]
    if error == "value_error":
        return str(context["error"])
    if error == "extra_forbidden":
        return f"unknown key; {nearest(key.rpartition('.')[2], known)}"
    if error == "union_tag_not_found":
        return f"is missing; {nearest('', known)}"
    if error == "union_tag_invalid":
        return f"unknown value {_short(context['tag'])}; {nearest(context['tag'], known)}"
    if error == "literal_error":
        known = re.findall("'(.*?)'", context["expected"])
        return f"unknown value {_short(value)}; {nearest(str(value), known)}"
    message = re.sub("^(Input|String|List|Tuple) ", "", details["msg"]).replace("array", "list")
    return message if ", not " in message else f"{message}, not {_short(value)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
