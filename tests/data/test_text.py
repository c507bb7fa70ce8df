"""Plain text as documents."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sublayer.config.data import Splits, TextData
from sublayer.data.example import Document
from sublayer.data.source import read, splits

SHARES = Splits(train=90, valid=10, test=0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n\n \nthree\n")
    (tmp_path / "b" / "c.txt.gz").write_bytes(gzip.compress("vier\n\nfünf".encode()))
    (tmp_path / "b" / "d.md").write_text("no text file", encoding="utf-8")
    return tmp_path


def test_a_folder_is_searched_through(folder):
    assert list(read(TextData(kind="text", train=str(folder)), "train")) == [
        Document("one\ntwo\n\n \nthree\n", "a.txt"),
        Document("vier\n\nfünf", "b/c.txt.gz"),
    ]


def test_a_glob_and_a_file(folder):
    named = [str(folder / "*" / "*.md"), str(folder / "a.txt")]
    data = TextData(kind="text", train=named)
    assert [document.name for document in read(data, "train")] == ["b/d.md", "a.txt"]


def test_a_file_with_a_star_in_its_name(tmp_path):
    (tmp_path / "a*.txt").write_text("x", encoding="utf-8")
    (tmp_path / "ab.txt").write_text("y", encoding="utf-8")
    data = TextData(kind="text", train=str(tmp_path / "a*.txt"))
    assert list(read(data, "train")) == [Document("x", "a*.txt")]


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("paragraph", ["one\ntwo", "three", "vier", "fünf"]),
        ("line", ["one", "two", "three", "vier", "fünf"]),
    ],
)
def test_units(folder, unit, texts):
    data = TextData(kind="text", train=str(folder), unit=unit)
    assert [document.text for document in read(data, "train")] == texts


def test_equal_lines_are_in_one_split(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{i % 50}\n" for i in range(200)), encoding="utf-8")
    shares = Splits(train=50, valid=25, test=25)
    data = TextData(kind="text", train=str(tmp_path), unit="line", splits=shares)
    parts = [[d.text for d in read(data, split)] for split in splits(data)]
    assert sum(len({*part}) for part in parts) == 50
    assert sum(map(len, parts)) == 200


@given(text=st.text(st.sampled_from("ab é\n"), min_size=1, max_size=200))
def test_split_by_position_is_that_of_nanogpt(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "position.txt"
    file.write_text(text, encoding="utf-8")
    data = TextData(kind="text", train=str(file), splits=SHARES, split_by="position")
    train, valid = ("".join(d.text for d in read(data, split)) for split in ("train", "valid"))
    cut = int(len(text) * 0.9)
    assert (train, valid) == (text[:cut], text[cut:])
    assert splits(data) == ("train", "valid")


def test_split_by_position_goes_on_over_files(folder):
    shares = Splits(train=70, valid=20, test=10)
    data = TextData(kind="text", train=str(folder), splits=shares, split_by="position")
    whole = "one\ntwo\n\n \nthree\nvier\n\nfünf"
    parts = ["".join(d.text for d in read(data, split)) for split in splits(data)]
    assert "".join(parts) == whole
    assert [len(part) for part in parts] == [18, 6, 3]


def test_position_without_shares():
    with pytest.raises(ValidationError, match="split_by = 'position' needs 'splits': give the"):
        TextData(kind="text", train="a.txt", split_by="position")


def test_wrong_paths(tmp_path):
    wrong = {
        str(tmp_path): r"there is no \*\.txt or \*\.txt\.gz file in the folder .*: correct the",
        str(tmp_path / "*.text"): r"no file matches .*\*\.text \(seen from .*\): correct the path",
        str(tmp_path / "a.txt"): r"there is no file .*a\.txt \(seen from",
    }
    for path, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            list(read(TextData(kind="text", train=path), "train"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.txt is empty: give a file with text"),
        (gzip.compress(b"a"), r"a\.txt:1 "),
        (b"a\n\0", r"a\.txt:2 has a zero byte, so this is not UTF-8 text"),
        (b"a\n\xff", r"a\.txt:2 is not UTF-8 \(byte 1 of the line\)"),
    ],
    ids=["empty", "packed", "binary", "latin-1"],
)
def test_wrong_files(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read(TextData(kind="text", train=str(tmp_path)), "train"))
