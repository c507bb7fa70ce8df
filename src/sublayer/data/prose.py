"""English out of Python source: docstrings and comments as flowing text."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator

CODE = re.compile(
    r"""
    >>> | \.\.\.\s | \$\s | \#! | -\*-                                 # sessions, first lines
    | (from|import)\s[\w.]+(\s(import|as)\b.*)?$ | @\w
    | (def|class|if|elif|for|while|with|try|except|else|finally)\b.*:$
    | (return|raise|assert|del|yield|pass|break|continue|print)\b\W*\w*\W*$
    | [\w.\[\]'"]+(,\s*[\w.]+)*\s*[-+*/|&]?=\s                          # assignments
    | [\w.]+\(.*\)[:;]?$                                               # calls
    | :\w+ | \.\.\s\w+:: | [|+] | \w+:\s*$                             # markup, drawings, headings
    """,
    re.VERBOSE,
)
"""How a line begins that is no sentence."""

LETTERS = 0.7
"""Share of letters and spaces that a line of prose has at least."""
WORDS = 5
"""A shorter paragraph is a heading or a note."""


def prose(text: str, tree: ast.Module) -> str:
    """Docstrings and comments of a file, in order, as paragraphs parted by a blank line.

    Sessions of the interpreter, lines of code and separators are left out; within a paragraph
    every white space is one blank.
    """
    blocks = sorted([*_docstrings(tree), *_comments(text)])
    return "\n\n".join(part for _, block in blocks for part in _paragraphs(block))


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.body[0].lineno, docstring


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """First line and text of each block of comments that have lines of their own."""
    begin, last, block = 0, 0, [""]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or not token.line.lstrip().startswith("#"):
            continue
        line = token.start[0]
        if line != last + 1:
            yield begin, "\n".join(block)
            begin, block = line, []
        block.append(token.string.lstrip("#").removeprefix(":"))
        last = line
    yield begin, "\n".join(block)


def _paragraphs(block: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(block)):
        kept = []
        for line in paragraph.split("\n"):
            line = line.strip()
            if line.startswith(">>>"):
                break  # what follows is what the interpreter answers
            if line and not CODE.match(line) and _letters(line) >= LETTERS:
                kept.append(line)
        words = " ".join(kept).split()
        if len(words) >= WORDS:
            yield " ".join(words)


def _letters(line: str) -> float:
    return sum(c.isalpha() or c == " " for c in line) / len(line)
