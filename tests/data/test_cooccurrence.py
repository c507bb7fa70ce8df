from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.data.cooccurrence import RUN, Cooccurrences, Entries, merge, shuffled


def counted(texts, window, *, symmetric):
    """In loops over all places."""
    found: Counter[tuple[int, int]] = Counter()
    for text in texts:
        for i, word in enumerate(text):
            for j in range(max(0, i - window), i):
                found[word, text[j]] += 1 / (i - j)
                if symmetric:
                    found[text[j], word] += 1 / (i - j)
    return found


def as_counter(pieces):
    found = {}
    for piece in pieces:
        for i, j, x in zip(piece.words, piece.around, piece.counts, strict=True):
            assert (int(i), int(j)) not in found  # each once
            found[int(i), int(j)] = float(x)
    return found


TEXTS = st.lists(st.lists(st.integers(0, 6), max_size=30), max_size=8)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("entries", [1, 7, 10_000])
@given(texts=TEXTS, window=st.integers(1, 5))
def test_counts_by_brute_force_in_any_memory(tmp_path_factory, texts, window, symmetric, entries):
    folder = tmp_path_factory.mktemp("counts")
    counts = Cooccurrences(7, window, 32 * entries, folder, symmetric=symmetric)
    for i in range(0, len(texts), 3):
        counts.add(texts[i : i + 3])
    found = as_counter(counts.entries())
    assert found == pytest.approx(dict(counted(texts, window, symmetric=symmetric)))


def test_little_memory_is_kept_to(tmp_path):
    """No more sums are held than there is room for, and those of one step."""
    draw = np.random.default_rng(0)
    counts = Cooccurrences(1000, 4, 32 * 500, tmp_path)
    held = []
    for _ in range(40):
        counts.add([draw.integers(0, 1000, 300)])
        held.append(sum(len(keys) for keys, _ in counts._new))
    assert max(held) <= 500
    assert len(list(tmp_path.glob("*.run"))) > 10
    assert max(len(piece.words) for piece in counts.entries()) <= 500


@given(
    runs=st.lists(st.dictionaries(st.integers(0, 50), st.integers(1, 9), max_size=30), min_size=1),
    size=st.integers(1, 9),
)
def test_runs_are_merged_in_order(runs, size):
    arrays = [np.array([(k, float(v)) for k, v in sorted(run.items())], RUN) for run in runs]
    pieces = list(merge(arrays, size))
    keys = np.concatenate([keys for keys, _ in pieces]) if pieces else np.empty(0)
    sums = np.concatenate([sums for _, sums in pieces]) if pieces else np.empty(0)
    total: Counter[int] = Counter()
    for run in runs:
        total.update(run)
    assert keys.tolist() == sorted(total)
    assert dict(zip(keys.tolist(), sums.tolist(), strict=True)) == total


@pytest.mark.parametrize("memory", [64, 64 * 100, 2**20])
def test_shuffled_is_the_same_in_another_order(tmp_path, memory):
    n = 1_000
    words, around = np.arange(n), np.arange(n)[::-1].copy()
    pieces = [
        Entries(words[i : i + 300], around[i : i + 300], words[i : i + 300] / 7)
        for i in range(0, n, 300)
    ]
    blocks = list(shuffled(pieces, 64, memory, tmp_path, np.random.default_rng(0)))
    assert [len(block.words) for block in blocks] == [64] * 15 + [40]
    order = np.concatenate([block.words for block in blocks])
    assert sorted(order.tolist()) == words.tolist()
    assert (np.concatenate([block.around for block in blocks]) == n - 1 - order).all()
    assert (np.concatenate([block.counts for block in blocks]) == order / 7).all()
    assert abs(np.corrcoef(order, words)[0, 1]) < 0.2


def test_nothing(tmp_path):
    counts = Cooccurrences(7, 3, 2**20, tmp_path)
    counts.add([])
    counts.add([[], [1]])
    assert list(counts.entries()) == []
    assert list(shuffled([], 8, 2**20, tmp_path, np.random.default_rng(0))) == []
