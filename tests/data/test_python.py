"""Python source in its views; the standard library is the large example."""

from __future__ import annotations

import ast
import io
import tokenize
from textwrap import dedent

import pytest

from sublayer.config.data import PythonData
from sublayer.data.example import Document
from sublayer.data.pair import Pair
from sublayer.data.prose import prose
from sublayer.data.source import read, splits
from sublayer.data.tokens import tagged_lines

SOURCE = '''"""Tools that open a door which was closed before."""
# -*- coding: utf-8 -*-

import os.path as p
from a.b import c as d


class Door(Base):
    """A thing in a wall."""

    @cached.property
    @old(key)
    def open(self, width=1):
        """Open the door, a little or wide.

        >>> Door().open(2)
        True and many more words that answer
        """
        # ==========================
        # The door is opened by a hand that
        #   comes from the side, if there is one.
        # x = 1
        return len(self.wall) + width

    def shut(self):
        """Shut."""

    def lock(self): """Lock the door with a key."""


if True:
    async def knock(*, times: int = 3) -> None:
        """Knock at the   door."""

        def inner():
            """Inner functions are not taken."""
            return f"a {times} b"
        text = """two
        lines"""
'''


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "pack/__init__.py": SOURCE.encode(),
        "pack/broken.py": b"def (",
        "pack/empty.py": b"\n",
        "pack/latin.py": b"# \xff\n",
        "pack/zero.py": b"x = 1\0\n",
        "tests/a.py": b"x = 1\n",
        "z.py": b"\xef\xbb\xbfx = '\\d'\r\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def every(folder, view) -> list:
    data = PythonData(kind="python", folder=str(folder), view=view)
    return [example for split in splits(data) for example in read(data, split)]


def test_code(folder):
    found = sorted(every(folder, "code"), key=lambda document: document.name)
    assert found == [Document(SOURCE, "pack/__init__.py"), Document("x = '\\d'\n", "z.py")]


def test_prose():
    assert prose(SOURCE, ast.parse(SOURCE)).split("\n\n") == [
        "Tools that open a door which was closed before.",
        "A thing in a wall.",
        "Open the door, a little or wide.",
        "The door is opened by a hand that comes from the side, if there is one.",
        "Lock the door with a key.",
        "Inner functions are not taken.",
    ]


def test_little_prose_is_none(folder):
    assert [document.name for document in every(folder, "prose")] == ["pack/__init__.py"]


def test_summary(folder):
    opened = (
        "def open(self, width=1):\n"
        "    # ==========================\n"
        "    # The door is opened by a hand that\n"
        "    #   comes from the side, if there is one.\n"
        "    # x = 1\n"
        "    return len(self.wall) + width"
    )
    found = every(folder, "summary")
    assert found[0] == Pair(opened, ("Open the door, a little or wide.",))
    assert found[1].targets == ("Knock at the door.",)
    assert found[1].source.startswith(
        "async def knock(*, times: int = 3) -> None:\n\n    def inner"
    )
    assert len(found) == 2


def test_signature(folder):
    assert every(folder, "signature") == [
        Pair("Open the door, a little or wide.", ("pack.Door.open(self, width=1)",)),
        Pair("Lock the door with a key.", ("pack.Door.lock(self)",)),
        Pair("Knock at the door.", ("pack.knock(*, times: int=3)",)),
    ]


def test_tags():
    lines = {" ".join(line.words): " ".join(line.tags) for line in tagged_lines(SOURCE)}
    expected = {
        "# x = 1": "comment comment comment comment",
        "import os . path as p": "keyword module operator module keyword name",
        "from a . b import c as d": "keyword module operator module keyword name keyword name",
        "class Door ( Base ) :": "keyword class operator name operator operator",
        "@ cached . property": "operator decorator operator decorator",
        "@ old ( key )": "operator decorator operator name operator",
        "def open ( self , width = 1 ) :": (
            "keyword function operator name operator name operator number operator operator"
        ),
        "return len ( self . wall ) + width": (
            "keyword builtin operator name operator attribute operator operator name"
        ),
        "if True :": "keyword constant operator",
        'return f"a {times} b"': "keyword string string string",
    }
    assert {words: lines.get(words) for words in expected} == expected
    assert not any("two" in words for words in lines)  # a token of two lines


def test_words_are_those_that_are_tagged(folder):
    lines = [document.text.split(" ") for document in every(folder, "words")]
    assert lines
    assert lines == [list(line.words) for line in every(folder, "tags")]


def test_long_lines_and_words_have_no_tags():
    long = "x" * 41
    many = "y = [" + "1, " * 30 + "]"
    text = f"a = {long}\n{many}\nb = {long[1:]}\n"
    assert [line.words[0] for line in tagged_lines(text)] == ["b"]


def test_words_are_the_tokens_of_the_interpreter():
    text = dedent("""
        def f(a, *b, c=None, **d):  # why not
            return [x.y(z) for x in 'some text' if not x] @ a
    """)
    skipped = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    expected = " ".join(t.string for t in tokens if t.type not in skipped).split()
    assert [word for line in tagged_lines(text) for word in line.words] == expected


def test_whole_files_are_held_out():
    """The standard library, in its order, with no file in two splits and none of tests."""
    data = PythonData(kind="python")
    names = {split: [d.name for d in read(data, split)] for split in splits(data)}
    every = [name for part in names.values() for name in part]
    assert all(part == sorted(part) for part in names.values())
    assert len(every) == len(set(every)) > 300
    assert "json/decoder.py" in every
    assert not any("site-packages" in name or "/test" in name for name in every)
    held_out = read(PythonData(kind="python", view="signature"), "valid")
    modules = {pair.targets[0].partition("(")[0] for pair in held_out}
    files = {name.removesuffix(".py").removesuffix("/__init__") for name in names["valid"]}
    assert modules
    assert all(any(m.startswith(f.replace("/", ".") + ".") for f in files) for m in modules)


def test_wrong_folders(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*no \(seen from .*\): correct its"):
        list(read(PythonData(kind="python", folder=str(tmp_path / "no")), "train"))
    with pytest.raises(
        ValueError, match=r"there is no Python file in the folder .*, those of tests"
    ):
        list(read(PythonData(kind="python", folder=str(tmp_path)), "train"))
