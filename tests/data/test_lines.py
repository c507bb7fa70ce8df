"""Aligned plain text."""

from __future__ import annotations

import gzip

import pytest

from sublayer.config.schema import LinesData
from sublayer.data.source import Pair, read, splits


def test_pairs_with_several_references(tmp_path):
    (tmp_path / "s").write_text("a\n\nc\n", encoding="utf-8")
    (tmp_path / "t1").write_text("A\nB\nC\n", encoding="utf-8")
    (tmp_path / "t2.gz").write_bytes(gzip.compress(b"AA\nBB\nCC"))
    files = [str(tmp_path / name) for name in ("s", "t1", "t2.gz")]
    data = LinesData(train=(files[0], files[1]), test=files)
    assert list(read(data, "train")) == [Pair("a", ("A",)), Pair("", ("B",)), Pair("c", ("C",))]
    assert list(read(data, "test")) == [
        Pair("a", ("A", "AA")),
        Pair("", ("B", "BB")),
        Pair("c", ("C", "CC")),
    ]
    assert splits(data) == ("train", "test")


@pytest.mark.parametrize(("source", "target"), [(2, 5), (5, 2), (1, 2)])
def test_unequal_numbers_of_lines(tmp_path, source, target):
    (tmp_path / "s").write_text("a\n" * source, encoding="utf-8")
    (tmp_path / "t").write_text("b\n" * target, encoding="utf-8")
    data = LinesData(train=(str(tmp_path / "s"), str(tmp_path / "t")))
    message = (
        rf"aligned files must have as many lines as each other: .*s has {source}, .*t has {target}$"
    )
    with pytest.raises(ValueError, match=message):
        list(read(data, "train"))
