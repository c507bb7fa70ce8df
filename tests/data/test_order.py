"""The order of training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.data.order import BucketOrder, cut, permutation
from sublayer.data.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    rng = np.random.default_rng(0)
    source = rng.lognormal(3, 0.5, 30_000).astype(int) + 1
    target = (source * rng.lognormal(0, 0.2, 30_000)).astype(int) + 1
    pairs = (([7] * s, [8] * t) for s, t in zip(source.tolist(), target.tolist(), strict=True))
    return Store.write(tmp_path_factory.mktemp("order") / "store", pairs)


def pairs_in(batches) -> list[int]:
    return np.concatenate(list(batches)).tolist()


@given(n=st.integers(1, 2_000), key=st.lists(st.integers(0, 2**31), min_size=1, max_size=3))
def test_permutation_is_one(n, key):
    assert sorted(permutation(n, key)(np.arange(n)).tolist()) == list(range(n))


def test_permutation_is_computed_index_by_index():
    whole = permutation(1000, [5])(np.arange(1000))
    some = np.array([999, 3, 3, 500])
    assert permutation(1000, [5])(some).tolist() == whole[some].tolist()


def test_permutation_of_more_than_memory_holds():
    n = 50_000_000_000
    places = permutation(n, [1])(np.arange(10_000) + n // 2)
    assert len(set(places.tolist())) == 10_000
    assert 0 <= places.min() < 0.01 * n < 0.99 * n < places.max() < n


def test_permutation_looks_random():
    """Every index lands everywhere: chi-square over 500 keys is in the range of a fair shuffle."""
    n = 10
    counts = np.zeros((n, n))
    for key in range(500):
        counts[np.arange(n), permutation(n, [key])(np.arange(n))] += 1
    expected = 500 / n
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 81 + 5 * np.sqrt(2 * 81)
    one = permutation(100_000, [3])(np.arange(100_000))
    assert abs(np.corrcoef(one, np.arange(100_000))[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("pool", [2**17, 1_000])
def test_every_epoch_has_every_pair_once_in_a_new_order(store, pool):
    order = BucketOrder(store, 4096, seed=1, pool=pool)
    first, second = pairs_in(order.epoch(0)), pairs_in(order.epoch(1))
    assert sorted(first) == sorted(second) == list(range(len(store)))
    assert first != second


def test_the_order_follows_from_the_seed(store):
    first = [batch.tolist() for batch in BucketOrder(store, 4096, seed=1).epoch(2)]
    assert [batch.tolist() for batch in BucketOrder(store, 4096, seed=1).epoch(2)] == first
    assert [batch.tolist() for batch in BucketOrder(store, 4096, seed=2).epoch(2)] != first


@pytest.mark.parametrize("batch_tokens", [1024, 4096])
def test_batches_are_full_and_little_of_them_is_padding(store, batch_tokens):
    padded = tokens = count = 0
    for batch in BucketOrder(store, batch_tokens, seed=1).epoch(0):
        lengths = store.lengths(batch) + 1
        assert len(batch) * lengths.max() <= batch_tokens
        padded += len(batch) * lengths.max(axis=0).sum()
        tokens += lengths.sum()
        count += 1
    assert 1 - tokens / padded < 0.05
    assert store.lengths(np.arange(len(store))).max(axis=1).sum() / (count * batch_tokens) > 0.9


def test_batches_come_in_no_order_of_length(store):
    longest = [store.lengths(batch).max() for batch in BucketOrder(store, 4096, seed=1).epoch(0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


@given(
    lengths=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1),
    batch_tokens=st.integers(1, 200),
)
def test_cut_keeps_the_bound_and_every_pair(lengths, batch_tokens):
    array = np.array(lengths)
    indices = np.arange(len(lengths)) + 100
    batches = cut(indices, array, batch_tokens)
    assert sorted(pairs_in(batches)) == indices.tolist()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * array[batch - 100].max() <= batch_tokens
