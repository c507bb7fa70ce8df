"""Python source as words with tags: what the interpreter's own tokenizer says each word is."""

from __future__ import annotations

import builtins
import io
import keyword
import tokenize
from collections.abc import Iterator
from tokenize import TokenInfo

from sublayer.data.example import Tagged

MAX_WORDS = 60
MAX_CHARACTERS = 40
"""Longer lines, and lines with a longer word, are left out."""

CONSTANTS = {"True", "False", "None"}
BUILTINS = {name for name in dir(builtins) if not name.startswith("_")} - CONSTANTS
KINDS = {tokenize.STRING: "string", tokenize.NUMBER: "number", tokenize.COMMENT: "comment"}
UNSEEN = {tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}


def tagged_lines(text: str) -> Iterator[Tagged]:
    """Each logical line of a source, its words tagged.

    Tags are keyword, constant, builtin, function (after `def`, or called), class (after `class`),
    decorator, module (what an import is from), attribute (after a dot), name, string, number,
    comment and operator. A string or a comment with blanks in it is several words. Lines with a
    token that goes over several lines are left out, as are long ones.
    """
    for line in _logical(text):
        words = [
            (word, tag)
            for token, tag in zip(line, _tags(line), strict=True)
            for word in token.string.split()
        ]
        whole = all(token.start[0] == token.end[0] for token in line)
        if whole and len(words) <= MAX_WORDS and all(len(w) <= MAX_CHARACTERS for w, _ in words):
            yield Tagged(tuple(word for word, _ in words), tuple(tag for _, tag in words))


def _logical(text: str) -> Iterator[list[TokenInfo]]:
    """The tokens of each logical line; a comment on a line of its own is one."""
    line: list[TokenInfo] = []
    for token in _joined(tokenize.generate_tokens(io.StringIO(text).readline)):
        ends = token.type == tokenize.NEWLINE or (
            token.type == tokenize.NL and all(t.type == tokenize.COMMENT for t in line)
        )
        if ends:
            if line:
                yield line
            line = []
        elif token.type not in UNSEEN and token.type != tokenize.NL:
            line.append(token)


def _joined(tokens: Iterator[TokenInfo]) -> Iterator[TokenInfo]:
    """The same tokens, each formatted string as one: from Python 3.12 on it comes in pieces."""
    depth = 0
    begin = None
    for token in tokens:
        name = tokenize.tok_name[token.type]
        if name.endswith("STRING_START"):
            begin = begin or token
            depth += 1
        elif name.endswith("STRING_END") and begin:
            depth -= 1
            if depth == 0:
                string = begin.line[begin.start[1] : token.end[1]]
                yield TokenInfo(tokenize.STRING, string, begin.start, token.end, begin.line)
                begin = None
        elif not begin:
            yield token


def _tags(line: list[TokenInfo]) -> Iterator[str]:
    imports, decorates = line[0].string in {"from", "import"}, line[0].string == "@"
    strings = ["", *(token.string for token in line), ""]
    for before, token, after in zip(strings, line, strings[2:], strict=False):
        if token.type == tokenize.NAME:
            if token.string == "import" and line[0].string == "from":
                imports = False  # what follows is no module
            yield _name(before, token.string, after, decorates, imports)
        else:
            decorates = decorates and token.string in {"@", "."}  # up to its arguments
            yield KINDS.get(token.type, "operator")


def _name(before: str, name: str, after: str, decorates: bool, imports: bool) -> str:
    """The tag of a name between two other tokens."""
    if name in CONSTANTS:
        return "constant"
    if keyword.iskeyword(name):
        return "keyword"
    if before in {"def", "class"}:
        return "function" if before == "def" else "class"
    if imports:
        return "name" if before == "as" else "module"
    if decorates:
        return "decorator"
    if before != "." and name in BUILTINS:
        return "builtin"
    if after == "(":
        return "function"
    return "attribute" if before == "." else "name"
