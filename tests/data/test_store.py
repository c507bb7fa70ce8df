"""Tokenized pairs on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sublayer.data.store import CHUNK, Store

ids = st.lists(st.integers(0, 2**16 - 1), max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def pairs_of(store: Store) -> list[tuple[list[int], list[int]]]:
    return [
        (source.tolist(), target.tolist()) for source, target in store.rows(np.arange(len(store)))
    ]


@settings(max_examples=30)  # each one is synced to the disk
@given(pairs=st.lists(st.tuples(ids, ids), min_size=1))
def test_pairs_come_back(folder, pairs):
    store = Store.write(folder / "a", iter(pairs))
    assert pairs_of(store) == pairs
    assert store.lengths(np.arange(len(pairs))).tolist() == [
        [len(source), len(target)] for source, target in pairs
    ]
    assert dict(store.meta) == {
        "pairs": len(pairs),
        "source_tokens": sum(len(source) for source, _ in pairs),
        "target_tokens": sum(len(target) for _, target in pairs),
        "bytes_per_id": 2,
    }


def test_more_pairs_than_are_written_at_a_time(tmp_path):
    store = Store.write(
        tmp_path / "a", (([i % 7] * (i % 3), [i % 5]) for i in range(2 * CHUNK + 5))
    )
    some = np.array([2 * CHUNK + 4, 0, CHUNK, CHUNK - 1])
    assert [target.tolist() for _, target in store.rows(some)] == [[i % 5] for i in some.tolist()]
    assert store.lengths(some)[:, 0].tolist() == [i % 3 for i in some.tolist()]


@pytest.mark.parametrize(("vocab_size", "width"), [(2**16, 2), (2**16 + 1, 4)])
def test_width_of_ids(tmp_path, vocab_size, width):
    store = Store.write(tmp_path / "a", [([vocab_size - 1], [0])], vocab_size)
    assert store.meta["bytes_per_id"] == width
    assert pairs_of(store) == [([vocab_size - 1], [0])]


def test_an_id_that_does_not_fit_is_never_written_as_another(tmp_path):
    with pytest.raises(OverflowError):
        Store.write(tmp_path / "a", [([2**16], [0])])


def test_failed_writing_leaves_what_was_there(tmp_path):
    def broken():
        yield [1], [2]
        raise KeyboardInterrupt

    Store.write(tmp_path / "a", [([5], [6])])
    with pytest.raises(KeyboardInterrupt):
        Store.write(tmp_path / "a", broken())
    assert pairs_of(Store.open(tmp_path / "a")) == [([5], [6])]
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


WRITE_AND_DIE = """
import os, sys
from sublayer.data.store import CHUNK, Store

def pairs():
    yield from (([1], [2]) for _ in range(2 * CHUNK))
    os.kill(os.getpid(), 9)

Store.write(sys.argv[1], pairs())
"""


def test_killed_while_writing(tmp_path):
    died = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(tmp_path / "a")], check=False)
    assert died.returncode == -signal.SIGKILL
    with pytest.raises(
        ValueError, match=r"there are no tokenized pairs in .*a: run again to make them"
    ):
        Store.open(tmp_path / "a")
    assert pairs_of(Store.write(tmp_path / "a", [([5], [6])])) == [([5], [6])]
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["source.ids", "target.ids", "offsets", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "emptied", "longer"])
def test_damaged(tmp_path, name, damage):
    Store.write(tmp_path / "a", [([1, 2, 3], [4, 5]), ([6], [7, 8])])
    file = tmp_path / "a" / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(
            {"cut": content[:-2], "emptied": b"", "longer": content + bytes(16)}[damage]
        )
    with pytest.raises(
        ValueError,
        match=r"the tokenized pairs in .*a are damaged: delete that folder and run again",
    ):
        Store.open(tmp_path / "a")


@pytest.mark.parametrize("meta", ["[]", "{}", '{"bytes_per_id": 3}', '{"bytes_per_id": "x"}', "7"])
def test_damaged_meta(tmp_path, meta):
    Store.write(tmp_path / "a", [([1], [2])])
    (tmp_path / "a" / "meta.json").write_text(meta, encoding="utf-8")
    with pytest.raises(ValueError, match="damaged: delete that folder"):
        Store.open(tmp_path / "a")


def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr("sublayer.data.store.CHUNK", 500)

    def peak(pairs: int) -> int:
        tracemalloc.start()
        store = Store.write(tmp_path / "a", (([1, 2], [3, 4, 5]) for _ in range(pairs)))
        store.rows(np.arange(0, pairs, 100))
        _, size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    assert peak(8_000) < 1.2 * peak(2_000)
