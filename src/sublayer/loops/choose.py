"""What a search goes on with, from logits: no table of log-probabilities is written."""

from __future__ import annotations

import numba
import numpy as np

from sublayer.loops.compiled import compiled, compiled_for_threads, n_threads
from sublayer.loops.numbers import exp, ordered, unordered
from sublayer.loops.tables import Array

BLOCK = 64
"""Tokens of which the largest logit is known: most blocks hold nothing that is wanted."""
FEWEST = 1 << 14
"""Logits from which on a second thread is worth waking."""


@compiled
def _survey(logits: Array, first: int, last: int, tops: Array) -> None:
    """The largest of each block of tokens, of some rows."""
    v = logits.shape[1]
    for row in range(first, last):
        for block in range(tops.shape[1]):
            largest = np.int32(-(1 << 31))
            if block < v // BLOCK:
                for i in range(BLOCK):  # a number that is known is gone through faster
                    largest = max(largest, ordered(logits[row, block * BLOCK + i]))
            else:
                for i in range(block * BLOCK, v):
                    largest = max(largest, ordered(logits[row, i]))
            tops[row, block] = unordered(largest)


@compiled
def _add_up(logits: Array, first: int, last: int, tops: Array, norms: Array) -> None:
    """ln of the sum of e^logit, of some rows that are surveyed."""
    for row in range(first, last):
        highest, total = tops[row, 0], np.float32(0)
        for block in range(1, tops.shape[1]):
            if not tops[row, block] <= highest:  # NaN is not, and stays
                highest = tops[row, block]
        for i in range(logits.shape[1]):
            total += exp(logits[row, i] - highest)
        norms[row] = highest + np.log(total)


@compiled
def _largest(logits: Array, first: int, last: int, tops: Array, tokens: Array) -> None:
    """The first of the largest logits of some rows whose blocks are surveyed."""
    v = logits.shape[1]
    for row in range(first, last):
        block = 0
        for other in range(1, tops.shape[1]):
            if not tops[row, other] <= tops[row, block]:
                block = other
        tokens[row] = block * BLOCK
        for i in range(block * BLOCK, min(block * BLOCK + BLOCK, v)):
            if logits[row, i] == tops[row, block]:
                tokens[row] = i
                break


@compiled
def _put_in(value: float, place: int, values: Array, places: Array) -> None:
    """Into its place among the best, the last of which is dropped."""
    at = len(values) - 1
    while at > 0 and values[at - 1] < value:
        values[at], places[at] = values[at - 1], places[at - 1]
        at -= 1
    values[at], places[at] = value, place


@compiled
def choose(
    text: int,
    totals: Array,
    logits: Array,
    tops: Array,
    norms: Array,
    never: Array,
    values: Array,
    places: Array,
) -> None:
    """The best continuations of a text's beams, which are rows of the logits."""
    c, v = totals.shape[1], logits.shape[1]
    values[text], places[text] = -np.inf, 0
    best, own = values[text], places[text]
    for beam in range(c):
        row = text * c + beam
        so_far = totals[text, beam] - norms[row]
        if np.isnan(so_far):
            best[:] = np.nan
            return
        for block in range(tops.shape[1]):
            if not so_far + tops[row, block] > best[-1]:
                continue
            for token in range(block * BLOCK, min(block * BLOCK + BLOCK, v)):
                value = so_far + logits[row, token]
                if value > best[-1] and token not in never:
                    _put_in(value, beam * v + token, best, own)


@compiled
def measure(part: int, parts: int, logits: Array, tops: Array, norms: Array) -> tuple[int, int]:
    """The rows of one of `parts` threads, surveyed and added up."""
    first, last = len(logits) * part // parts, len(logits) * (part + 1) // parts
    _survey(logits, first, last, tops)
    _add_up(logits, first, last, tops, norms)
    return first, last


@compiled
def _rank_alone(
    totals: Array,
    logits: Array,
    tops: Array,
    norms: Array,
    never: Array,
    values: Array,
    places: Array,
) -> None:
    measure(0, 1, logits, tops, norms)
    for text in range(len(totals)):
        choose(text, totals, logits, tops, norms, never, values, places)


@compiled_for_threads
def _rank_together(
    parts: int,
    totals: Array,
    logits: Array,
    tops: Array,
    norms: Array,
    never: Array,
    values: Array,
    places: Array,
) -> None:
    n_texts = len(totals)
    for part in numba.prange(parts):
        measure(part, parts, logits, tops, norms)
    for part in numba.prange(parts):
        for text in range(n_texts * part // parts, n_texts * (part + 1) // parts):
            choose(text, totals, logits, tops, norms, never, values, places)


def best_continuations(
    totals: Array, logits: Array, never: Array, wanted: int
) -> tuple[Array, Array]:
    """The `wanted` best of totals `r c` and log-probabilities of logits `(r c) v` added up.

    What they add up to, `r k`, best first, and `beam v + token`, `r k`. Tokens in `never` are left
    out; where there are too few, -inf stands. A beam whose logits are no numbers makes all of its
    row's NaN.
    """
    n_texts, (n_rows, v) = len(totals), logits.shape
    tops, norms = np.empty((n_rows, -(-v // BLOCK)), np.float32), np.empty(n_rows, np.float32)
    values = np.empty((n_texts, wanted), np.float32)
    places = np.empty((n_texts, wanted), np.int64)
    parts = n_threads()
    if parts == 1 or logits.size < FEWEST:
        _rank_alone(totals, logits, tops, norms, never, values, places)
    else:
        _rank_together(parts, totals, logits, tops, norms, never, values, places)
    return values, places


@compiled
def _take(
    part: int, parts: int, logits: Array, allowed: Array, tops: Array, norms: Array, tokens: Array
) -> None:
    first, last = measure(part, parts, logits, tops, norms)
    _survey(allowed, first, last, tops)
    _largest(allowed, first, last, tops, tokens)


@compiled_for_threads
def _take_together(
    parts: int, logits: Array, allowed: Array, tops: Array, norms: Array, tokens: Array
) -> None:
    for part in numba.prange(parts):
        _take(part, parts, logits, allowed, tops, norms, tokens)


def likeliest(logits: Array, allowed: Array) -> tuple[Array, Array]:
    """The largest of what is `allowed`, `r v`: tokens, and their log-probabilities by `logits`."""
    n_rows, v = logits.shape
    tops, norms = np.empty((n_rows, -(-v // BLOCK)), np.float32), np.empty(n_rows, np.float32)
    tokens = np.empty(n_rows, np.int64)
    parts = n_threads()
    if parts == 1 or logits.size < FEWEST:
        _take(0, 1, logits, allowed, tops, norms, tokens)
    else:
        _take_together(parts, logits, allowed, tops, norms, tokens)
    return tokens, logits[np.arange(n_rows), tokens] - norms
