"""Beam search of a planned network, by threads that are one compiled loop each; no PyTorch.

It finds what `generation/beam.py` finds, where nothing is asked that loops do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from threading import Thread
from typing import Any, NamedTuple, final

import numpy as np

from sublayer.generation.lengths import length_penalty, limit_of
from sublayer.generation.numbers import check_numbers
from sublayer.generation.stopping import Stops
from sublayer.generation.weights import PlannedWeights
from sublayer.loops.kept import Search
from sublayer.loops.tables import HYPOTHESES, TOLD, Array

LOOK = 0.1
"""Seconds after which it is told how many texts are done."""


class Asked(NamedTuple):
    """What a search is asked."""

    beam: int
    """Hypotheses kept at every step; 1 is greedy search."""
    n_best: int
    length_penalty: float
    """alpha of Wu et al. 2016, eq. 14."""
    patience: float | None
    """Of so many times the beam; None: until nothing that grows can be better."""
    max_length: int | None
    """Tokens with the end; None: 50 more than the source has with its own."""
    batch_tokens: int
    """Tokens of sources that a thread reads together, over the beam."""
    threads: int


class Answer(NamedTuple):
    """One hypothesis: ids without start and end, ln P, and what it was ranked by."""

    ids: list[int]
    logprob: float
    score: float


@final
class Planned:
    """A network of a plan at work."""

    def __init__(self, weights: PlannedWeights, search: Search) -> None:
        self.weights, self.search = weights, search

    def answers(
        self,
        sources: Sequence[Sequence[int]],
        asked: Asked,
        start: int,
        stops: Stops,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[list[Answer]]:
        """The best hypotheses for each source (ids with their end), best first.

        `progress` hears every now and then how many more are done.

        Raises:
            ValueError: a source is longer than the model, or what comes next is no number.
            MemoryError: there is not enough.
        """
        if not sources:
            return []
        job = _Job(self.weights, sources, asked, start, stops)
        threads = [Thread(target=self._work, args=(job, i)) for i in range(job.n_threads)]
        done = 0
        try:
            started = _start(threads)
            while alive := [thread for thread in threads if thread.is_alive()]:
                alive[0].join(LOOK)
                done += _report(progress, int(job.done.sum()) - done)
                if len(alive) < started and job.has_more():
                    job.stop[0] = 1  # a thread has given up: else all are at it
            _report(progress, int(job.done.sum()) - done)
        finally:
            job.stop[0] = 1
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        return job.results()

    def _work(self, job: _Job, thread: int) -> None:
        """What a thread does; it holds what it reads and writes, even if nobody waits for it."""
        self.search(job.address, thread)


def _start(threads: Sequence[Thread]) -> int:
    """As many as the system allows, but one at least.

    Raises:
        MemoryError: it allows none.
    """
    for i, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:
            if i == 0:
                raise MemoryError("the system starts no more threads") from None
            return i
    return len(threads)


def _report(progress: Callable[[int], None], done: int) -> int:
    if done:
        progress(done)
    return done


class _Job:
    """Sources, the longest first, and room for what is found: what threads are told."""

    def __init__(
        self,
        weights: PlannedWeights,
        sources: Sequence[Sequence[int]],
        asked: Asked,
        start: int,
        stops: Stops,
    ) -> None:
        n, (end,) = len(sources), stops.ends
        self._held: list[Any] = []  # arrays of which only the addresses are told
        self.told = np.zeros(1, TOLD)
        self.address = int(self.told.ctypes.data)
        self.order = sorted(range(n), key=lambda i: -len(sources[i]))
        lengths = np.array([len(sources[i]) for i in self.order], np.int64)
        ids = np.concatenate([np.array(sources[i], np.int64) for i in self.order])
        _check_ids(ids, weights.n_source)
        _check_ids(np.array([start, end]), weights.n_target)
        limits = np.array([limit_of(asked.max_length, k) for k in lengths.tolist()], np.int64)
        limits = np.minimum(limits, weights.plan.max_length or limits.max())
        longest = int(limits.max())
        self.told["network"], positions = weights.told(int(lengths.max()), longest)
        self._held.append(positions)
        self.n_threads = min(asked.threads, n)
        share = -(-len(ids) // self.n_threads)
        at_once = min(asked.batch_tokens // asked.beam, share)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self._tell("texts", ids=ids, n_ids=len(ids), starts=starts)
        self._tell("texts", limits=limits, n=n, at_once=at_once)
        # so many of the shortest are as many tokens as may be alive
        n_places = int(np.searchsorted(np.cumsum(lengths[::-1]), at_once, "right"))
        self.told["n_places"] = max(1, n_places)
        never = np.array(stops.never, np.int64)
        alpha = asked.length_penalty
        penalty = np.array([length_penalty(k, alpha) for k in range(longest + 1)])
        enough = np.inf if asked.patience is None else asked.patience * asked.beam
        self._tell("options", width=asked.beam, enough=enough, start=start, end=end)
        self._tell("options", never=never, n_never=len(never), penalty=penalty, longest=longest)
        self._make_room(n, asked.n_best, longest)

    def _make_room(self, n: int, n_best: int, longest: int) -> None:
        self.ids = np.empty((n, n_best, longest), np.int32)
        self.best = np.zeros((n, n_best), HYPOTHESES)
        self.best["score"] = -np.inf
        n_found, self.done = np.zeros(n, np.int64), np.zeros(self.n_threads, np.int64)
        self.next, self.stop, self.broken = (np.zeros(1, np.int64) for _ in range(3))
        self._tell("found", ids=self.ids, best=self.best, n_found=n_found, n_best=n_best)
        self._tell("shared", next=self.next, stop=self.stop, broken=self.broken)
        self._tell("shared", done=self.done, n_threads=self.n_threads)

    def _tell(self, part: str, **values: Any) -> None:
        """Arrays by their addresses, and numbers."""
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                self._held.append(value)
                value = value.ctypes.data
            self.told[part][name] = value

    def has_more(self) -> bool:
        """Whether there are texts that no thread has taken yet."""
        return int(self.next[0]) < len(self.order)

    def results(self) -> list[list[Answer]]:
        """Of each source, in their order.

        Raises:
            ValueError: what came next was no number.
            MemoryError: a thread gave up.
        """
        check_numbers([nan] if self.broken[0] else [])
        if self.done.sum() < len(self.order):
            raise MemoryError("there is not enough memory: give a smaller batch_tokens")
        out: list[list[Answer]] = [[] for _ in self.order]
        for ids, best, i in zip(self.ids, self.best, self.order, strict=True):
            out[i] = [
                Answer(own[: one["length"]].tolist(), float(one["logprob"]), float(one["score"]))
                for own, one in zip(ids, best, strict=True)
                if one["score"] > -np.inf
            ]
        return out


def _check_ids(ids: Array, n: int) -> None:
    for id in (ids.min(), ids.max()):
        if not 0 <= id < n:
            raise ValueError(f"there is no token {id}: the model has {n}")
