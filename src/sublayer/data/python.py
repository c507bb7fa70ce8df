"""Python source, seen as code, prose, words, tagged words, summaries or signatures."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from textwrap import dedent

from sublayer.config.data import PythonData
from sublayer.data.example import Document, Example, Group
from sublayer.data.pair import Pair
from sublayer.data.prose import prose
from sublayer.data.tokens import tagged_lines

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
"""Folders that are not entered: what is installed, and tests, which are much alike."""

SUMMARY_WORDS = range(3, 31)
PROSE_CHARACTERS = 200
"""A file with less prose gives none."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_python(data: PythonData) -> Iterator[Group]:
    """What each file of the folder has to show in `data.view`, file after file, in order.

    The key is the path below the folder. Files that are not UTF-8, or that this interpreter cannot
    parse, are left out.

    Raises:
        ValueError: there is no such folder, or no Python file in it.
    """
    folder = Path(data.folder or sysconfig.get_paths()["stdlib"])
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder} (seen from {Path.cwd()}): correct its path in [data]"
        )
    files = [(file.relative_to(folder).as_posix(), file) for file in folder.rglob("*.py")]
    files = [(name, file) for name, file in files if not LEFT_OUT & {*name.split("/")[:-1]}]
    if not files:
        raise ValueError(
            f"there is no Python file in the folder {folder}, those of tests and of installed "
            "packages left aside: correct its path in [data]"
        )
    view = VIEWS[data.view]
    for name, file in sorted(files):
        yield name.encode(), _seen(file, name, view)


def _seen(file: Path, name: str, view: View) -> Iterator[Example]:
    """What `view` finds in a file; nothing is read before it is asked for."""
    parsed = _parsed(file)
    if parsed is not None:
        yield from view(*parsed, name)


def _parsed(file: Path) -> tuple[str, ast.Module] | None:
    try:
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the file's author was to be warned of
            tree = ast.parse(text)
    except (UnicodeDecodeError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return (text, tree) if text.strip() else None


# ---- views ---------------------------------------------------------------------------------------


def _code(text: str, tree: ast.Module, name: str) -> Iterator[Example]:
    yield Document(text, name)


def _prose(text: str, tree: ast.Module, name: str) -> Iterator[Example]:
    found = prose(text, tree)
    if len(found) >= PROSE_CHARACTERS:
        yield Document(found, name)


def _words(text: str, tree: ast.Module, name: str) -> Iterator[Example]:
    for line in tagged_lines(text):
        yield Document(" ".join(line.words), name)


def _tags(text: str, tree: ast.Module, name: str) -> Iterator[Example]:
    return tagged_lines(text)


def _summary(text: str, tree: ast.Module, name: str) -> Iterator[Example]:
    lines = text.split("\n")
    for _, function, first in _documented(tree, ""):
        source = _undocumented(lines, function)
        if source is not None:
            yield Pair(source, (first,))


def _signature(text: str, tree: ast.Module, name: str) -> Iterator[Example]:
    parts = PurePosixPath(name).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for qualified, function, first in _documented(tree, f"{module}." if module else ""):
        yield Pair(first, (f"{qualified}({ast.unparse(function.args)})",))


View = Callable[[str, ast.Module, str], Iterator[Example]]
VIEWS: dict[str, View] = {
    "code": _code,
    "prose": _prose,
    "words": _words,
    "tags": _tags,
    "summary": _summary,
    "signature": _signature,
}


def _documented(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function, str]]:
    """Qualified name, node and first docstring line of functions, not of those in functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            first = (ast.get_docstring(child) or "").strip().partition("\n")[0].split()
            if len(first) in SUMMARY_WORDS:
                yield prefix + child.name, child, " ".join(first)
        elif isinstance(child, ast.ClassDef):
            yield from _documented(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.stmt | ast.excepthandler):
            yield from _documented(child, prefix)


def _undocumented(lines: list[str], function: Function) -> str | None:
    """Source of a function without its docstring; None if that is all, or shares its lines."""
    docstring, *body = function.body
    if not body or docstring.lineno == function.lineno or body[0].lineno == docstring.end_lineno:
        return None
    head = lines[function.lineno - 1 : docstring.lineno - 1]
    rest = lines[docstring.end_lineno : function.end_lineno]
    return dedent("\n".join([*head, *rest])).strip()
