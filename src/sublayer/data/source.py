"""From the recipe's `[data]` to a stream of examples, whatever holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, Literal

from sublayer.config.data import (
    CatalogData,
    CatalogsData,
    CmudictData,
    ConllData,
    Data,
    DigitsData,
    FilesData,
    HubData,
    ImagesData,
    LinesData,
    ParquetData,
    PythonData,
    Splits,
    SquadData,
    TableData,
    TextData,
)
from sublayer.data.catalog import read_po
from sublayer.data.catalogs import read_catalogs
from sublayer.data.cmudict import read_cmudict
from sublayer.data.conll import read_conll
from sublayer.data.example import (
    Example,
    Group,
    split_key,
)
from sublayer.data.hub import read_hub
from sublayer.data.images import read_digits, read_images
from sublayer.data.lines import read_lines
from sublayer.data.memory import read_tmx
from sublayer.data.pair import Pair
from sublayer.data.parquet import read_parquet
from sublayer.data.python import read_python
from sublayer.data.squad import read_squad
from sublayer.data.table import read_csv, read_jsonl, read_tsv
from sublayer.data.text import read_part, read_text

__all__ = ["Example", "Pair", "Split", "read", "split_of", "splits"]

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def read(data: Data, split: Split) -> Iterator[Example]:
    """The examples of one split as they stand in the files, one at a time, none left out.

    Raises:
        ValueError: the recipe has no such split, or, told while reading, a file has a mistake.
    """
    if split not in splits(data):
        raise ValueError(f"[data] has no '{split}' data: say where it is")
    shares = _shares(data)
    if shares is not None and isinstance(data, TextData) and data.split_by == "position":
        return read_part(data, shares, split)
    groups = _groups(data, split if shares is None else "train")
    examples = chain.from_iterable(
        examples for key, examples in groups if shares is None or split_of(key, shares) == split
    )
    if isinstance(data, CmudictData) and data.longest is not None and split != "test":
        pairs = (example for example in examples if isinstance(example, Pair))
        return (pair for pair in pairs if len(pair.source) <= data.longest)
    return examples


def splits(data: Data) -> tuple[Split, ...]:
    """The splits that there is data for.

    Raises:
        ValueError: splits are given twice, as files and as shares.
    """
    shares = _shares(data)
    if shares is None:
        given = data.model_dump()
        return tuple(split for split in SPLITS if given[split] is not None)
    percent = shares.model_dump()
    return tuple(split for split in SPLITS if percent[split] > 0)


def split_of(key: bytes, shares: Splits) -> Split:
    """The split of every example with this key: by its hash, the same on any machine."""
    bucket = int.from_bytes(sha256(key).digest()[:8], "big") % 100
    if bucket < shares.train:
        return "train"
    return "valid" if bucket < shares.train + shares.valid else "test"


def _shares(data: Data) -> Splits | None:
    """How the splits are taken out of the training data, if they are not given as files."""
    if isinstance(data, LinesData | HubData):
        return None
    if isinstance(data, FilesData) and data.splits is not None and (data.valid or data.test):
        raise ValueError(
            "[data] has 'splits' beside 'valid' or 'test' files: give one or the other"
        )
    return data.splits


def _groups(data: Data, split: Split) -> Iterator[Group]:
    """All examples of what the recipe names for `split`, with what decides theirs."""
    named: Any = data.model_dump().get(split)
    match data:
        case PythonData():
            return read_python(data)
        case CatalogsData():
            return read_catalogs(data)
        case TextData():
            return read_text(data, named)
    return ((split_key(example), (example,)) for example in _examples(data, named))


def _examples(data: Data, named: Any) -> Iterable[Example]:
    """The examples of kinds whose split goes by each example's own source."""
    match data:
        case CmudictData():
            return read_cmudict(data.stress)
        case DigitsData():
            return read_digits()
        case LinesData():
            return read_lines(named)
        case HubData():
            return read_hub(data, named)
        case ParquetData():
            return read_parquet(data, named)
    files: Sequence[str] = [named] if isinstance(named, str) else named
    return chain.from_iterable(map(_of_file(data), files))


def _of_file(data: Data) -> Callable[[str], Iterator[Example]]:
    """The reader of one file, or folder."""
    match data:
        case TableData(
            kind="jsonl",
            source=str(source),
            target=str(target),
            second=str() | None as second,
        ):
            return partial(read_jsonl, source=source, target=target, second=second)
        case TableData(kind="jsonl"):
            raise ValueError(
                "JSON lines have named values: give 'source' and 'target' in [data] as text"
            )
        case TableData():
            reader = read_tsv if data.kind == "tsv" else read_csv
            return partial(reader, source=data.source, target=data.target, second=data.second)
        case CatalogData(kind="po"):
            return read_po
        case CatalogData():
            return partial(read_tmx, source=data.source_language, target=data.target_language)
        case ConllData():
            return partial(read_conll, words=data.words, tags=data.tags)
        case SquadData():
            return read_squad
        case ImagesData():
            return partial(read_images, data)
    raise AssertionError(data.kind)
