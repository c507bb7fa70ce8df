"""From the recipe's `[data]` to a stream of pairs, whatever holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, Literal

from sublayer.config.schema import (
    CatalogData,
    CmudictData,
    Data,
    HubData,
    LinesData,
    Splits,
    TableData,
)
from sublayer.data.catalog import read_po
from sublayer.data.cmudict import read_cmudict
from sublayer.data.hub import read_hub
from sublayer.data.lines import read_lines
from sublayer.data.memory import read_tmx
from sublayer.data.pair import Pair
from sublayer.data.table import read_jsonl, read_tsv

__all__ = ["Pair", "Split", "read", "split_of", "splits"]

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def read(data: Data, split: Split) -> Iterator[Pair]:
    """The pairs of one split as they stand in the files, one at a time, none left out.

    Raises:
        ValueError: the recipe has no such split, or, told while reading, a file has a mistake.
    """
    if split not in splits(data):
        raise ValueError(f"[data] has no '{split}' data: say where it is")
    shares = _shares(data)
    if shares is None:
        return _pairs(data, split)
    return (pair for pair in _pairs(data, "train") if split_of(pair.source, shares) == split)


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


def split_of(source: str, shares: Splits) -> Split:
    """The split of every pair with this source text: by its hash, the same on any machine."""
    bucket = int.from_bytes(sha256(source.encode()).digest()[:8], "big") % 100
    if bucket < shares.train:
        return "train"
    return "valid" if bucket < shares.train + shares.valid else "test"


def _shares(data: Data) -> Splits | None:
    """How the splits are taken out of the training data, if they are not given as files."""
    if isinstance(data, LinesData | HubData):
        return None
    if not isinstance(data, CmudictData) and data.splits is not None and (data.valid or data.test):
        raise ValueError(
            "[data] has 'splits' beside 'valid' or 'test' files: give one or the other"
        )
    return data.splits


def _pairs(data: Data, split: Split) -> Iterator[Pair]:
    """All pairs of what the recipe names for `split`."""
    named: Any = data.model_dump().get(split)
    reader: Callable[[str], Iterator[Pair]]
    match data:
        case CmudictData():
            return read_cmudict(data.stress)
        case LinesData():
            return read_lines(named)
        case HubData():
            return read_hub(data, named)
        case TableData(kind="tsv"):
            reader = partial(read_tsv, source=data.source, target=data.target)
        case TableData(source=str(source), target=str(target)):
            reader = partial(read_jsonl, source=source, target=target)
        case TableData():
            raise ValueError(
                "JSON lines have named values: give 'source' and 'target' in [data] as text"
            )
        case CatalogData(kind="po"):
            reader = read_po
        case CatalogData():
            reader = partial(read_tmx, source=data.source_language, target=data.target_language)
    return chain.from_iterable(map(reader, [named] if isinstance(named, str) else named))
