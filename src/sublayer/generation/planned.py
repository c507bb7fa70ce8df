"""Beam search of a planned network, by threads that are one compiled loop each; no PyTorch.

It finds what `generation/beam.py` finds, where nothing is asked that loops do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from threading import Thread
from typing import NamedTuple, final

import numpy as np

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
    at_once: int
    """Tokens of sources that a thread reads together."""
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
        threads = [Thread(target=self.search, args=(job.address, i)) for i in range(job.n_threads)]
        told = 0
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(LOOK)
                    done = int(job.done.sum())
                    if done > told:
                        progress(done - told)
                    told = done
        finally:
            job.stop[0] = 1
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        return job.results()


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
        (end,) = stops.ends
        n, longest_of_all = len(sources), weights.plan.max_length
        self.order = sorted(range(n), key=lambda i: -len(sources[i]))
        lengths = np.array([len(sources[i]) for i in self.order], np.int64)
        self.ids = np.concatenate([np.array(sources[i], np.int64) for i in self.order])
        _check_ids(self.ids, weights.n_source)
        _check_ids(np.array([start, end]), weights.n_target)
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        limits = np.full(n, asked.max_length) if asked.max_length else lengths + 50
        if longest_of_all is not None:
            limits = np.minimum(limits, longest_of_all)
        self.limits = limits.astype(np.int64)
        longest = int(limits.max())
        self.never = np.array(stops.never, np.int64)
        self.penalty = ((5 + np.arange(longest + 1)) / 6) ** asked.length_penalty
        self.n_threads = min(asked.threads, n)
        share = -(-int(lengths.sum()) // self.n_threads)
        at_once = min(asked.at_once // asked.beam, share)
        self.found = np.empty((n, asked.n_best, longest), np.int32)
        self.best = np.zeros((n, asked.n_best), HYPOTHESES)
        self.best["score"] = -np.inf
        self.n_found, self.done = np.zeros(n, np.int64), np.zeros(self.n_threads, np.int64)
        self.next, self.stop, self.broken = (np.zeros(1, np.int64) for _ in range(3))
        enough = np.inf if asked.patience is None else asked.patience * asked.beam
        told = np.zeros(1, TOLD)
        told["network"] = weights.record(int(lengths.max()), longest)
        told["texts"] = (
            _at(self.ids),
            len(self.ids),
            *map(_at, (self.starts, self.limits)),
            n,
            at_once,
        )
        told["options"] = (
            *(asked.beam, start, end, _at(self.never), len(self.never), _at(self.penalty)),
            *(longest, enough),
        )
        told["found"] = (*map(_at, (self.found, self.best, self.n_found)), asked.n_best)
        shared = map(_at, (self.next, self.stop, self.broken, self.done))
        told["shared"] = (*shared, self.n_threads)
        told["n_places"] = min(n, max(1, at_once // int(lengths.min())))
        self.told, self.address = told, _at(told)

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
        for ids, best, i in zip(self.found, self.best, self.order, strict=True):
            out[i] = [
                Answer(own[: one["length"]].tolist(), float(one["logprob"]), float(one["score"]))
                for own, one in zip(ids, best, strict=True)
                if one["score"] > -np.inf
            ]
        return out


def _at(array: Array) -> int:
    return int(array.ctypes.data)


def _check_ids(ids: Array, n: int) -> None:
    if ids.min() < 0 or ids.max() >= n:
        raise ValueError(f"the tokenizer has id {ids.max()}, the model only {n}")
