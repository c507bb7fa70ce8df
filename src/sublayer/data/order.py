"""Which pairs make which batch: an order that follows from the seed, made pool by pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from sublayer.data.batch import Row
from sublayer.data.store import Store

Indices = NDArray[np.int64]

POOL = 2**17
ROUNDS = 6


class Order(ABC):
    """Abstract. Which rows make which batch; `len` is how many rows an epoch has."""

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Indices]:
        """The batches of epoch `number`, each as numbers that `rows` knows."""

    @abstractmethod
    def rows(self, indices: Indices) -> list[Row]:
        """What stands under these numbers."""

    @abstractmethod
    def __len__(self) -> int: ...


@final
class BucketOrder(Order):
    """Batches of pairs alike in length, in random order.

    A batch has at most `batch_tokens` padded tokens on its longer side; a pair longer than that is
    a batch of its own. Every epoch takes all pairs in a new pseudo-random order, `pool` at a time:
    a pool is sorted by length and cut into batches, which are shuffled.
    """

    def __init__(self, store: Store, batch_tokens: int, seed: int, pool: int = POOL) -> None:
        self.store = store
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.pool = pool

    def epoch(self, number: int) -> Iterator[Indices]:
        """The batches of epoch `number`, each as the numbers of its pairs in the store."""
        pairs = len(self.store)
        shuffled = permutation(pairs, [self.seed, number])
        for pool, begin in enumerate(range(0, pairs, self.pool)):
            indices = shuffled(np.arange(begin, min(begin + self.pool, pairs)))
            batches = cut(indices, self.store.lengths(indices) + 1, self.batch_tokens)
            for batch in np.random.default_rng([self.seed, number, pool]).permutation(len(batches)):
                yield batches[batch]

    def rows(self, indices: Indices) -> list[Row]:
        """The pairs of these numbers."""
        return self.store.rows(indices)

    def __len__(self) -> int:
        return len(self.store)


@final
class WindowOrder(Order):
    """Windows of a store's source ids laid end to end, for models that read text as a stream.

    Every epoch cuts them at another place, so that what stands at a window's start, with nothing
    before it, differs. A window has `length` ids and the one that comes after; numbers are where
    windows begin.
    """

    def __init__(self, store: Store, length: int, batch_tokens: int, seed: int) -> None:
        self.store, self.seed = store, seed
        self.length = min(length, store.ids - 1)
        self.batch = max(1, batch_tokens // self.length)

    def epoch(self, number: int) -> Iterator[Indices]:
        """The windows of epoch `number` in random order, the rest that fills none left out."""
        random = np.random.default_rng([self.seed, number])
        spare = self.store.ids - 1 - len(self) * self.length
        starts = int(random.integers(spare + 1)) + self.length * random.permutation(len(self))
        for begin in range(0, len(starts), self.batch):
            yield starts[begin : begin + self.batch].astype(np.int64)

    def rows(self, indices: Indices) -> list[Row]:
        """The windows that begin at these places, and no targets."""
        nothing = np.empty(0, np.int64)
        return [(self.store.stream(i, i + self.length + 1), nothing) for i in indices.tolist()]

    def in_order(self) -> Iterator[Indices]:
        """All of the stream from its beginning; the last window is shorter, in its own batch."""
        starts = np.arange(0, self.store.ids - 1, self.length)
        whole = starts[starts + self.length < self.store.ids]
        for begin in range(0, len(whole), self.batch):
            yield whole[begin : begin + self.batch]
        if len(whole) < len(starts):
            yield starts[len(whole) :]

    def __len__(self) -> int:
        """As many as fit wherever the first begins, within a window's length."""
        return max(1, (self.store.ids - self.length) // self.length)


def cut(indices: Indices, lengths: NDArray[np.int64], batch_tokens: int) -> list[Indices]:
    """Batches of pairs of like lengths (m 2), whose rows times longest side fit `batch_tokens`."""
    longer, difference = lengths.max(axis=1), lengths[:, 0] - lengths[:, 1]
    # Up and down by turns, so that in a batch across two lengths the shorter sides are alike too;
    # pairs of equal lengths stay in the order of `indices`.
    order = np.lexsort((np.where(longer % 2 == 0, difference, -difference), longer))
    batches = []
    begin = 0
    for row, longest in enumerate(longer[order].tolist()):
        if longest * (row + 1 - begin) > batch_tokens and row > begin:
            batches.append(indices[order[begin:row]])
            begin = row
    return [*batches, indices[order[begin:]]]


def permutation(n: int, key: Sequence[int]) -> Callable[[Indices], Indices]:
    """A pseudo-random bijection of 0..n-1, index by index: a Feistel network, walked to below n.

    The network permutes a power of four that is at most 4n, so four steps at most find the place
    on average (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains").
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)

    def network(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> half, values & low
        for round_key in keys:
            left, right = right, left ^ (_mixed(right ^ round_key) & low)
        return (left << half) | right

    def place(indices: Indices) -> Indices:
        values = network(indices.astype(np.uint64))
        while (outside := values >= n).any():
            values[outside] = network(values[outside])
        return values.astype(np.int64)

    return place


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of `values` (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
