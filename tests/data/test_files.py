"""Files, plain and packed, and their lines."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.data.files import lines

any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("name", ["plain.txt", "packed.txt.gz"])
@given(
    texts=st.lists(any_text.filter(lambda text: not text.endswith("\r")), min_size=1),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_lines_come_back(folder, name, texts, end):
    content = "".join(text + end for text in ["first", *texts]).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(lines(str(folder / name))) == ["first", *texts]


def test_only_a_line_feed_ends_a_line(tmp_path):
    (tmp_path / "a").write_bytes("a\u2028b\x85c\x0bd\re\n\nlast".encode())
    assert list(lines(str(tmp_path / "a"))) == ["a\u2028b\x85c\x0bd\re", "", "last"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\nb\n")
    assert list(lines(str(tmp_path / "a"))) == ["a", "b"]


@pytest.mark.parametrize("packed", [False, True])
@given(content=st.binary())
def test_any_bytes_are_read_or_refused_in_one_sentence(folder, packed, content):
    file = folder / ("any.gz" if packed else "any")
    file.write_bytes(content)
    try:
        read = list(lines(str(file)))
    except ValueError as error:
        assert str(file) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert not packed
        assert "\n".join(read).encode() in content.replace(b"\r\n", b"\n")


@given(content=st.binary(min_size=1), cut=st.integers(1, 20))
def test_half_a_gzip_file_is_refused(folder, content, cut):
    file = folder / "half.gz"
    file.write_bytes(gzip.compress(content)[:-cut])
    with pytest.raises(ValueError, match=r"half\.gz(:\d+)? (is|has)"):
        list(lines(str(file)))


WRONG = {
    "empty": (b"", r"a\.txt is empty: give a file with text$"),
    "binary": (
        b"text\na\0b\n",
        r"a\.txt:2 has a zero byte, so this is not UTF-8 text: give a text file",
    ),
    "latin-1": (
        "über\ngrößer\n".encode("latin-1"),
        r"a\.txt:1 is not UTF-8 \(byte 1 of the line\): convert .* 'iconv -f",
    ),
    "late": (b"abc\nabc\nab\xff\n", r"a\.txt:3 is not UTF-8 \(byte 3 of the line\)"),
    "utf-16": ("text\n".encode("utf-16"), r"a\.txt:1 "),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("packed", [False, True])
def test_wrong_files(tmp_path, wrong, packed):
    content, message = WRONG[wrong]
    file = tmp_path / ("a.txt.gz" if packed else "a.txt")
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(
        ValueError, match=message.replace("a\\.txt", r"a\.txt\.gz" if packed else r"a\.txt")
    ):
        list(lines(str(file)))


def test_missing_file(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"there is no file .*/a\.txt \(seen from .*\): correct its path$",
    ):
        list(lines(str(tmp_path / "a.txt")))


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        list(lines(str(tmp_path)))


@pytest.mark.parametrize(
    "content", [b"plain text", gzip.compress(b"text " * 100)[:-12]], ids=["plain", "cut"]
)
def test_damaged_gzip(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.gz is damaged or no gzip file \(.*\): fetch it or pack it again"
    ):
        list(lines(str(tmp_path / "a.gz")))
