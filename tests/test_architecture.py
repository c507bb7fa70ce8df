"""The shape of the package: imports point down, nothing is a cycle, nothing grows fat."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sublayer"
ROWS = [  # low to high: a folder imports only from the rows above it here, and from none in its own
    {"config"},
    {"layers", "loops", "text", "metrics"},
    {"models", "data"},
    {"objectives", "generation", "surgery", "lens", "scaling"},
    {"tasks"},
    {"training"},
    {"serving"},
    {"cli"},
]
LEVEL = {folder: level for level, row in enumerate(ROWS) for folder in row}
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 60, 8
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc"}

MODULES = {
    ".".join((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): file
    for file in sorted(PACKAGE.rglob("*.py"))
}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[str]:
    """Full names of what the module `name` imports, wherever in the file the import stands."""
    file = MODULES[name]
    home = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source


def own_imports(name: str) -> set[str]:
    return {other for other in imported(name) if other in MODULES and other != name}


def folder(module: str) -> str | None:
    """The folder of the package that a module is in; None for those that lie beside the folders."""
    inside = MODULES[module].relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else None


def test_imports_point_down():
    wrong = [
        f"{name} -> {other}"
        for name in MODULES
        for other in own_imports(name)
        if (low := folder(name))
        and (high := folder(other))
        and low != high
        and LEVEL[high] >= LEVEL[low]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_cycles():
    graph = {name: own_imports(name) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_layers_know_torch_alone():
    allowed = {"torch", "jaxtyping", *sys.stdlib_module_names}
    wrong = [
        f"{name} -> {other}"
        for name in MODULES
        if folder(name) == "layers"
        for other in imported(name)
        if other.split(".")[0] not in allowed and not f"{other}.".startswith("sublayer.layers.")
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_grows_fat():
    fat = []
    for name, file in MODULES.items():
        lines = file.read_text(encoding="utf-8").count("\n")
        if lines > MAX_FILE:
            fat.append(f"{name}: {lines} lines")
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                fat += [f"{name}.{node.name}: {excess}" for excess in excesses(node)]
    assert not fat, "\n".join(fat)


def excesses(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > MAX_FUNCTION:
        yield f"{lines} lines"
    given = {
        a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    }
    if len(given - {"self", "cls"}) > MAX_PARAMETERS:
        yield f"{len(given)} parameters"


def test_every_folder_has_a_row():
    folders = {name for module in MODULES if (name := folder(module))}
    assert folders <= set(LEVEL), folders - set(LEVEL)
    bare = {
        str(file.parent) for file in MODULES.values() if not (file.parent / "__init__.py").exists()
    }
    assert not bare, f"no __init__.py in {bare}"


def test_every_verb_of_the_command_line_is_short():
    long = {
        file.name: lines
        for file in (PACKAGE / "cli").glob("*.py")
        if (lines := file.read_text(encoding="utf-8").count("\n")) >= 80
    }
    assert not long


def test_names_say_something():
    files = [*PACKAGE.rglob("*"), *(ROOT / "tests").rglob("*")]
    assert not [str(file) for file in files if file.stem.removeprefix("test_") in SAYS_NOTHING]
