"""Parquet files."""

from __future__ import annotations

import pytest

from sublayer.config.data import ParquetData, Splits
from sublayer.data.pair import Pair
from sublayer.data.source import read, splits

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = [
    {"translation": {"en": "a", "de": "A"}, "references": ["A", "AA"], "number": 1},
    {"translation": {"en": "b", "de": None}, "references": ["B"], "number": 2},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "in" / "a.parquet", row_group_size=1)
    return tmp_path


def parquet(folder, **keys) -> ParquetData:
    keys = {"source": "translation.en", "target": "references", **keys}
    return ParquetData(kind="parquet", train=str(folder), **keys)


def test_nested_columns_and_several_targets(folder):
    assert list(read(parquet(folder), "train")) == [Pair("a", ("A", "AA")), Pair("b", ("B",))]


def test_numbers_are_targets_as_they_are_written(folder):
    found = list(read(parquet(folder, target="number"), "train"))
    assert found == [Pair("a", ("1",)), Pair("b", ("2",))]


def test_a_second_text(folder):
    found = read(parquet(folder, second="translation.de"), "train")
    assert next(found) == Pair("a", ("A", "AA"), "A")
    with pytest.raises(ValueError, match=r"the second text of row 1 of .*a\.parquet is of type No"):
        next(found)


def test_shares(folder):
    data = parquet(folder, splits=Splits(train=50, valid=50, test=0))
    assert sum(len(list(read(data, split))) for split in splits(data)) == 2


def test_mistakes(folder, tmp_path):
    for keys, message in [
        ({"source": "translate"}, r"a\.parquet has no column 'translate'; did you mean 'transl"),
        ({"source": "translation.fr"}, r"row 0 of .*a\.parquet has no 'fr' for the column 'tra"),
        ({"source": "number"}, r"the source of row 0 of .* is of type int: give text"),
    ]:
        with pytest.raises(ValueError, match=message):
            list(read(parquet(folder, **keys), "train"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(ValueError, match=r"b\.parquet is no whole Parquet file \("):
        list(read(parquet(tmp_path / "b.parquet"), "train"))
    with pytest.raises(ValueError, match=r"there is no file .*c\.parquet"):
        list(read(parquet(tmp_path / "c.parquet"), "train"))
