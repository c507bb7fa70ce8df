"""Gettext catalogues."""

from __future__ import annotations

import builtins
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import CatalogData
from sublayer.data.catalog import read_po
from sublayer.data.source import Pair, read

HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
PO = (
    HEADER
    + """
msgid "Open"
msgstr "Öffnen"

msgctxt "menu"
msgid ""
"two "
"lines\\n"
msgstr "zwei Zeilen\\n"

#, fuzzy
msgid "Perhaps"
msgstr "Vielleicht"

msgid "Not yet"
msgstr ""

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d plik"
msgstr[1] "%d pliki"
msgstr[2] "%d plików"

msgid "%d page"
msgid_plural "%d pages"
msgstr[0] "%d Seiten"

#~ msgid "Old"
#~ msgstr "Alt"
"""
)
PAIRS = [
    Pair("Open", ("Öffnen",)),
    Pair("two lines\n", ("zwei Zeilen\n",)),
    Pair("%d file", ("%d plik",)),
    Pair("%d files", ("%d pliki", "%d plików")),
    Pair("%d page", ("%d Seiten",)),
    Pair("%d pages", ("%d Seiten",)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("catalogues")


def test_finished_translations_only(tmp_path):
    (tmp_path / "de.po").write_text(PO, encoding="utf-8")
    assert list(read_po(str(tmp_path / "de.po"))) == PAIRS


def test_a_folder_is_searched_through_in_order(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "de.po.gz").write_bytes(gzip.compress(PO.encode()))
    (tmp_path / "a.po").write_text(HEADER + 'msgid "Yes"\nmsgstr "Ja"\n', encoding="utf-8")
    (tmp_path / "a.txt").write_text("nothing", encoding="utf-8")
    data = CatalogData(kind="po", train=str(tmp_path), valid=str(tmp_path / "a.po"))
    assert list(read(data, "train")) == [Pair("Yes", ("Ja",)), *PAIRS]
    assert list(read(data, "valid")) == [Pair("Yes", ("Ja",))]


def test_a_folder_without_catalogues(tmp_path):
    with pytest.raises(
        ValueError, match=r"there is no \.po file in the folder .*: correct its path in \[data\]"
    ):
        list(read_po(str(tmp_path)))


@pytest.mark.parametrize("content", ["plain text\n", 'msgid "a"\nmsgid "b"\n', "msgstr[x]\n"])
def test_no_catalogue(tmp_path, content):
    (tmp_path / "a.po").write_text(content, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"a\.po is no gettext catalogue \(.*\): see 'msgfmt --check .*a\.po'"
    ):
        list(read_po(str(tmp_path / "a.po")))


lines = st.lists(
    st.sampled_from(
        [
            "msgid ",
            "msgid_plural ",
            "msgstr ",
            "msgstr[0] ",
            "msgstr[1] ",
            "msgctxt ",
            "#, ",
            "#~ ",
            "#| ",
            "",
        ]
    ).flatmap(
        lambda key: st.text(st.sampled_from('ab"\\nu[]1 é'), max_size=6).map(
            lambda text: f'{key}"{text}"'
        )
    )
    | st.text(max_size=8)
).map("\n".join)


@given(content=lines)
def test_any_text_is_read_or_refused_in_one_sentence(folder, content):
    (folder / "any.po").write_text(HEADER + content, encoding="utf-8", errors="replace")
    try:
        assert all(isinstance(pair, Pair) for pair in read_po(str(folder / "any.po")))
    except ValueError as error:
        assert "any.po" in str(error)  # noqa: PT017 - either outcome is right


def test_without_the_package(tmp_path, monkeypatch):
    original = builtins.__import__

    def without_polib(name, *rest):
        if name == "polib":
            raise ModuleNotFoundError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_polib)
    with pytest.raises(
        ValueError,
        match=r"this kind of data needs the package polib: pip install 'sublayer\[data\]'",
    ):
        list(read_po(str(tmp_path)))
