"""Reading and writing: recipes in TOML, records in JSON, and files that are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from sublayer.config.errors import explain
from sublayer.config.registry import nearest
from sublayer.config.schema import Generation, Recipe

# ---- recipes -------------------------------------------------------------------------------------


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, with `overrides` such as `training.minutes=5` laid over it.

    The value of an override is read as TOML, and taken as it stands if it is none:
    `model.size=base`. Paths in a recipe are relative to the current folder, wherever it lies.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it, or in the overrides, is wrong.
    """
    table = read_toml(path)
    if "compare" in table:
        raise ValueError(f"{path} is a comparison; give it to `sublayer compare`")
    written = {}
    for override in overrides:
        dotted, value = read_override(override)
        lay_over(table, dotted, value)
        written[dotted] = override
    return make_recipe(table, str(path), written)


def make_recipe(table: dict[str, Any], where: str, written: Mapping[str, str]) -> Recipe:
    """The recipe that a table is; `written` is what was laid over it, by dotted key.

    Raises:
        ValueError: something is wrong in it; the message begins with `where`.
    """

    def place(key: str) -> str:
        for dotted, override in written.items():
            if f"{dotted}.".startswith(f"{key}.") or key.startswith(f"{dotted}."):
                return f"{where} with {override}"
        return where

    if isinstance(objective := table.setdefault("objective", {}), dict):
        objective.setdefault("kind", "seq2seq")
    try:
        # As JSON: in pydantic's strict mode for Python, where "5" is no number, a list is no tuple.
        return Recipe.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise explain(error, Recipe, place) from None
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{where}: {_too_much(error)}") from None


def read_changes(overrides: Sequence[str], **given: Any) -> dict[str, Any]:
    """The keys and values of `key=value` arguments that stand without a recipe.

    Of those in `given`, which have options of their own, None is left out.

    Raises:
        ValueError: one is not of that form.
    """
    table = {key: value for key, value in given.items() if value is not None}
    for override in overrides:
        lay_over(table, *read_override(override))
    return table


def changed(generation: Generation, changes: Mapping[str, Any]) -> Generation:
    """How outputs are found, with other values for some keys.

    Raises:
        ValueError: a key is unknown or a value out of range.
    """
    try:
        return Generation.model_validate(generation.model_dump() | dict(changes))
    except ValidationError as error:
        raise explain(error, Generation, lambda key: "generation") from None


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write every key of `recipe`, defaults too, so that `load_recipe(path) == recipe`.

    Raises:
        OSError: as `atomic_write`.
    """
    atomic_write(path, tomli_w.dumps(recipe.model_dump(exclude_none=True, by_alias=True)))


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file, which it names, is not TOML in UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        known = [str(file) for file in path.parent.glob("*.toml")]
        hint = f"; {nearest(str(path), known)}" if known else ""
        raise FileNotFoundError(f"{path}: no such recipe{hint}") from None
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}: line {line} is not UTF-8; save the file in that encoding"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: {_too_much(error)}") from None


def _too_much(error: Exception) -> str:
    # the two things that may stand in TOML and are more than Python will read or write
    deep = isinstance(error, RecursionError)
    return "is nested too deeply" if deep else "has a number of thousands of digits"


def read_override(override: str) -> tuple[str, Any]:
    """The dotted key and the value of a `key=value`.

    Raises:
        ValueError: it is not of that form.
    """
    dotted, text = split_override(override)
    return dotted, read_value(text)


def split_override(override: str) -> tuple[str, str]:
    """The dotted key and the text of the value of a `key=value`.

    Raises:
        ValueError: it is not of that form.
    """
    dotted, equals, text = override.partition("=")
    names = [part.strip() for part in dotted.split(".")]
    if not equals or not all(names):
        raise ValueError(
            f"override {override!r} is not of the form key=value, such as training.minutes=5"
        )
    if not override.isprintable():
        raise ValueError(
            f"override {override!r} has characters that cannot be shown; write it into a recipe"
        )
    return ".".join(names), text


def lay_over(table: dict[str, Any], dotted: str, value: Any) -> None:
    """Set the dotted key of `table` to `value`."""
    *sections, name = dotted.split(".")
    for section in sections:
        inner = table.get(section)
        # Where a plain value stands a section is put, for the schema to refuse by its name.
        table[section] = inner if isinstance(inner, dict) else {}
        table = table[section]
    table[name] = value


def read_value(text: str) -> Any:
    """What a text is in TOML, or the text itself if it is none."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


# ---- records -------------------------------------------------------------------------------------


def dump_json(value: Any, path: Path) -> None:
    """Write `value` for people and programs.

    Raises:
        OSError: as `atomic_write`.
    """
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def load_json(path: Path) -> Any:
    """What `dump_json` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file, which it names, is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not valid JSON, so it is damaged or half copied: {error}"
        ) from None


def load_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file, which it names, is not JSON, or JSON of another kind.
    """
    value = load_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a JSON {type(value).__name__}, but an object is needed")
    return value


# ---- whole or not there --------------------------------------------------------------------------

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system answers when a disk, or one's share of it, is full."""


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file that is whole or not there, whenever the power goes; its folders are made.

    Raises:
        OSError: it cannot be written; with a full disk it says so, and how much is free.
    """
    beside = path.with_name(f".{path.name}.partial")
    with _removed_on_failure(beside, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync(path.parent)


def check_new(path: Path) -> None:
    """That a folder can be made here.

    Raises:
        ValueError: there is one that is not empty, or a file.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is there already; name a new folder")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to write into, put at `path` when the block ends well.

    A folder that was there before stays until then, and is replaced.

    Raises:
        OSError: it cannot be written; with a full disk it says so, and how much is free.
    """
    beside, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    with _removed_on_failure(beside, path):
        for left_over in (beside, old):
            shutil.rmtree(left_over, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        for inner in sorted(beside.rglob("*")):
            _sync(inner)
        _sync(beside)
        if path.exists():
            path.rename(old)  # a folder can only be renamed over an empty one
        beside.rename(path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the disk take what was written to a file, or which names are in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _removed_on_failure(beside: Path, path: Path) -> Iterator[None]:
    """Leave nothing at `beside` when writing fails; say so if that is for want of space."""
    try:
        yield
    except BaseException as error:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
        if _is_full(error):
            told = f"{path}: not written, the disk is full ({_free(path)} free)"
            raise OSError(errno.ENOSPC, told) from error
        raise


def _is_full(error: BaseException) -> bool:
    # safetensors has an exception of its own, with the system's words in it
    number = error.errno if isinstance(error, OSError) else None
    return number in FULL or any(f"(os error {full})" in str(error) for full in FULL)


def _free(path: Path) -> str:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB"
