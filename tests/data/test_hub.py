"""Data sets in Hugging Face's formats, from local folders."""

from __future__ import annotations

import builtins

import pytest

from sublayer.config.schema import HubData
from sublayer.data.source import Pair, read, splits

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("hub"))
    rows = datasets.Dataset.from_list(
        [
            {"translation": {"en": "a", "de": "A"}, "references": ["A", "AA"], "number": 1},
            {"translation": {"en": "b", "de": "B"}, "references": ["B"], "number": 2},
        ]
    )
    datasets.DatasetDict({"train": rows, "validation": rows.select([1])}).save_to_disk(folder)
    return folder


def test_nested_columns(saved):
    data = HubData(
        kind="huggingface", name=saved, source="translation.en", target="translation.de", test=None
    )
    assert list(read(data, "train")) == [Pair("a", ("A",)), Pair("b", ("B",))]
    assert list(read(data, "valid")) == [Pair("b", ("B",))]
    assert splits(data) == ("train", "valid")


def test_several_references(saved):
    data = HubData(kind="huggingface", name=saved, source="translation.en", target="references")
    assert list(read(data, "train")) == [Pair("a", ("A", "AA")), Pair("b", ("B",))]


def test_a_second_text_and_names_of_labels(tmp_path):
    features = datasets.Features(
        {"a": datasets.Value("string"), "b": datasets.Value("string")}
        | {"label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = [{"a": "x", "b": "y", "label": 1}, {"a": "x", "b": "z", "label": -1}]
    split = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": split}).save_to_disk(str(tmp_path))
    data = HubData(
        kind="huggingface", name=str(tmp_path), source="a", second="b", target="label", valid=None
    )
    found = read(data, "train")
    assert next(found) == Pair("x", ("yes",), "y")
    with pytest.raises(ValueError, match=r"the target of row 1 of .* is of type NoneType"):
        next(found)


def test_folder_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(
        '{"source": "a", "target": "A"}\n', encoding="utf-8"
    )
    data = HubData(kind="huggingface", name=str(tmp_path / "data"))
    assert list(read(data, "train")) == [Pair("a", ("A",))]


def test_missing_column(saved):
    data = HubData(kind="huggingface", name=saved, source="translation.deu", target="references")
    message = (
        r"row 0 of '.*', split 'train' has no 'deu' for the column 'translation\.deu'; "
        r"did you mean 'de'\?"
    )
    with pytest.raises(ValueError, match=message):
        list(read(data, "train"))


def test_value_that_is_no_text(saved):
    data = HubData(kind="huggingface", name=saved, source="number", target="translation.en")
    with pytest.raises(
        ValueError, match=r"the source of row 0 of '.*', split 'train' is of type int: give text"
    ):
        list(read(data, "train"))
    data = HubData(kind="huggingface", name=saved, source="number.en", target="number")
    with pytest.raises(ValueError, match=r"has no 'en' for the column 'number\.en'"):
        list(read(data, "train"))


def test_missing_split(saved):
    data = HubData(kind="huggingface", name=saved, test="holdout")
    with pytest.raises(ValueError, match=r"split 'holdout' of the data set '.*' cannot be loaded"):
        list(read(data, "test"))


def test_missing_data_set(tmp_path):
    data = HubData(kind="huggingface", name=str(tmp_path / "nowhere"))
    with pytest.raises(
        ValueError, match=r"split 'train' of the data set '.*nowhere' cannot be loaded"
    ):
        list(read(data, "train"))


def test_without_the_package(monkeypatch):
    original = builtins.__import__

    def without_datasets(name, *rest):
        if name == "datasets":
            raise ModuleNotFoundError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_datasets)
    with pytest.raises(
        ValueError, match=r"needs the package datasets: pip install 'sublayer\[data\]'"
    ):
        list(read(HubData(kind="huggingface", name="x"), "train"))
