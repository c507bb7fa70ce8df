"""Kinds of data whose packages are not installed."""

from __future__ import annotations

import builtins

import pytest

from sublayer.config.data import CatalogsData, DigitsData, ParquetData
from sublayer.data.source import read


@pytest.mark.parametrize(
    ("module", "data", "message"),
    [
        (
            "sklearn.datasets",
            DigitsData(kind="digits"),
            r"the package scikit-learn: pip install 'sublayer\[demo\]'",
        ),
        (
            "pyarrow",
            ParquetData(kind="parquet", train="a.parquet"),
            r"the package pyarrow: pip install 'sublayer\[data\]'",
        ),
        ("polib", CatalogsData(kind="catalogs"), r"the package polib: pip install 'sublayer\["),
    ],
    ids=["digits", "parquet", "catalogs"],
)
def test_without_the_package(monkeypatch, module, data, message):
    original = builtins.__import__

    def without(name, *rest):
        if name == module:
            raise ModuleNotFoundError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=f"this kind of data needs {message}"):
        list(read(data, "train"))
