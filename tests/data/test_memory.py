"""Translation memories."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import CatalogData
from sublayer.data.memory import read_tmx
from sublayer.data.source import Pair, read

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    '<tmx version="1.4"><header/><body>'
)
TAIL = "</body></tmx>\n"


def unit(*variants: tuple[str, str]) -> str:
    inside = "".join(
        f'<tuv xml:lang="{language}"><seg>{text}</seg></tuv>' for language, text in variants
    )
    return f"<tu><note>n</note>{inside}</tu>\n"


def write(path, body: str) -> str:
    content = (HEAD + body + TAIL).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("memories")


@pytest.mark.parametrize("name", ["a.tmx", "a.tmx.gz"])
def test_units_with_both_languages(tmp_path, name):
    body = (
        unit(("en-US", "One &amp; two"), ("de", "Eins &amp; zwei"))
        + unit(("DE_AT", "Jänner"), ("en", "January"), ("de-DE", "Januar"), ("fr", "janvier"))
        + unit(("en", "no German"))
        + unit(("eng", "other code"), ("de", "x"))
    )
    data = CatalogData(kind="tmx", train=write(tmp_path / name, body))
    assert list(read(data, "train")) == [
        Pair("One & two", ("Eins & zwei",)),
        Pair("January", ("Jänner", "Januar")),
    ]


def test_a_region_takes_only_itself(tmp_path):
    file = write(
        tmp_path / "a.tmx",
        unit(("en-GB", "lift"), ("de", "Aufzug")) + unit(("en-US", "elevator"), ("de", "Aufzug")),
    )
    assert list(read_tmx(file, "en-us", "de")) == [Pair("elevator", ("Aufzug",))]


def test_codes_are_no_text(tmp_path):
    text = 'a <bpt i="1">&lt;b&gt;</bpt><hi>bold<ph>{0}</ph> word</hi><ept i="1">&lt;/b&gt;</ept>.'
    file = write(tmp_path / "a.tmx", unit(("en", text), ("de", "x")))
    assert list(read_tmx(file, "en", "de")) == [Pair("a bold word.", ("x",))]


def test_namespace_old_attribute_and_other_encoding(tmp_path):
    content = (
        '<?xml version="1.0" encoding="UTF-16"?><tmx xmlns="http://www.lisa.org/tmx14"><body><tu>'
        '<tuv lang="EN"><seg>ü</seg></tuv><tuv lang="DE"><seg>b</seg></tuv></tu></body></tmx>'
    )
    (tmp_path / "a.tmx").write_bytes(content.encode("utf-16"))
    assert list(read_tmx(str(tmp_path / "a.tmx"), "en", "de")) == [Pair("ü", ("b",))]


def test_no_unit_has_both_languages(tmp_path):
    file = write(tmp_path / "a.tmx", unit(("en", "a"), ("fr", "b")) + unit(("de", "c")))
    message = (
        r"no unit of .*a\.tmx has both 'en' and 'de', "
        r"but these languages: de, en, fr: correct source_"
    )
    with pytest.raises(ValueError, match=message):
        list(read_tmx(file, "en", "de"))
    with pytest.raises(ValueError, match="these languages: none"):
        list(read_tmx(write(tmp_path / "b.tmx", ""), "en", "de"))


BOMB = (
    '<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    "<tmx><body><tu>&b;</tu></body></tmx>"
)


@pytest.mark.parametrize(
    "content", [HEAD + unit(("en", "a"), ("de", "b")), "text", "<tmx>\n<body></tmx>", BOMB]
)
def test_no_safe_whole_xml(tmp_path, content):
    (tmp_path / "a.tmx").write_text(content, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"a\.tmx is no safe, whole XML \(.*\): export the memory again"
    ):
        list(read_tmx(str(tmp_path / "a.tmx"), "en", "de"))


tags = st.sampled_from(["tu", "tuv", "seg", "hi", "ph", "body"]).flatmap(
    lambda tag: st.sampled_from(
        [f"<{tag}>", f"</{tag}>", f'<{tag} xml:lang="en">', f'<{tag} xml:lang="de">', f"<{tag}/>"]
    )
)


@given(
    body=st.lists(tags | st.text(max_size=4)).map("".join)
    | st.binary().map(lambda raw: raw.decode("latin-1"))
)
def test_any_text_is_read_or_refused_in_one_sentence(folder, body):
    (folder / "any.tmx").write_text(HEAD + body + TAIL, encoding="utf-8", errors="replace")
    try:
        assert all(isinstance(pair, Pair) for pair in read_tmx(str(folder / "any.tmx"), "en", "de"))
    except ValueError as error:
        assert "any.tmx" in str(error)  # noqa: PT017 - either outcome is right


def test_memory_of_one_unit(tmp_path):
    def peak(units: int) -> int:
        file = write(tmp_path / "a.tmx", unit(("en", "some text"), ("de", "ein Text")) * units)
        tracemalloc.start()
        assert sum(1 for _ in read_tmx(file, "en", "de")) == units
        _, size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    peak(10)  # what is made once
    assert peak(2_000) < peak(200) + 500_000  # their trees would take eight times that
