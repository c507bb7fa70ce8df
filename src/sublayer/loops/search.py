"""Beam search of many texts as one loop, as `generation/beam.py` does it without rules and groups.

Where some texts have ended, others begin beside those still written. Threads that share the texts
take the next one from a counter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sublayer.loops.attend import BLOCK
from sublayer.loops.choose import BLOCK as TOKENS
from sublayer.loops.choose import choose, measure
from sublayer.loops.compiled import compiled
from sublayer.loops.instructions import claim
from sublayer.loops.ragged import Network, Places, keep, open_slots, read, step, wider
from sublayer.loops.tables import WIDTH, Array

SLOTS = 32
"""Of a place at first: hypotheses of one text have most of their past in common."""
NEVER = np.float32(-np.inf)
REFILL = 2
"""Others begin where so many times the tokens alive still fit."""


class Texts(NamedTuple):
    """What is to be answered, the longest first."""

    ids: Array
    """Of all, one behind another."""
    starts: Array
    """Where each begins, and where the last one ends."""
    limits: Array
    """Tokens each answer may have, with its end."""
    at_once: int
    """Tokens of the texts that are being answered together, but at least one text is."""


class Options(NamedTuple):
    """How texts are answered."""

    width: int
    """Hypotheses of a text; one is greedy search."""
    enough: float
    """Ended hypotheses that end the search of a text."""
    start: int
    end: int
    never: Array
    """Tokens that are not written."""
    penalty: Array
    """What log-probabilities are divided by, by the number of tokens (float64)."""


class Found(NamedTuple):
    """The `k` best hypotheses of each of `t` texts, best first."""

    ids: Array
    """`t k n`, of which so many count as the hypothesis is long."""
    best: Array
    """HYPOTHESES, `t k`, of a score of -inf where there is none."""
    n_found: Array
    """How many there were, `t`."""


class Shared(NamedTuple):
    """What threads tell one another, and who started them."""

    next: Array
    """The next text, `1`."""
    stop: Array
    """Whether to give up, `1`."""
    broken: Array
    """Whether log-probabilities were no numbers, `1`."""
    done: Array
    """Texts done by each thread."""


class Job(NamedTuple):
    """All that a thread is told."""

    network: Network
    texts: Texts
    options: Options
    found: Found
    shared: Shared


class Beams(NamedTuple):
    """The hypotheses of the texts at `p` places."""

    text: Array
    """`p`"""
    totals: Array
    """Their log-probabilities, `p w`."""
    written: Array
    """What they say, `p w n`."""


@compiled
def _add(
    found: Found, text: int, ids: Array, token: int, total: float, score: float, ended: bool
) -> None:
    """A hypothesis, which `token` is the last of if it is none below 0, goes among the best."""
    best = found.best[text]
    found.n_found[text] += 1
    at = len(best)
    while at > 0 and score > best[at - 1].score:
        at -= 1
    if at == len(best):
        return
    for i in range(len(best) - 1, at, -1):
        best[i] = best[i - 1]
        for t in range(best[i].length):
            found.ids[text, i, t] = found.ids[text, i - 1, t]
    n = len(ids)
    for t in range(n):
        found.ids[text, at, t] = ids[t]
    if token >= 0:
        found.ids[text, at, n] = token
        n += 1
    best[at].length, best[at].logprob, best[at].score, best[at].ended = n, total, score, ended


@compiled
def _is_settled(found: Found, text: int, best: float, limit: int, options: Options) -> bool:
    """Whether enough have ended, or nothing alive can enter the best.

    Totals only fall, the penalty is largest at the limit: none can pass the bound.
    """
    n_best = found.best.shape[1]
    if found.n_found[text] >= options.enough or best == NEVER:
        return True
    bound = best / options.penalty[limit]
    return found.n_found[text] >= n_best and found.best[text, n_best - 1].score >= bound


@compiled
def _go_on(
    places: Places, beams: Beams, p: int, parents: Array, tokens: Array, totals: Array
) -> None:
    """The hypotheses at a place become others, each what one of them was and a token more."""
    n, n_lanes = places.length[p], places.lanes[p]
    n_seen = places.seen[p, 0, 0]
    written, seen = beams.written[p, :n_lanes, :n].copy(), places.seen[p, :n_lanes].copy()
    for lane in range(len(parents)):
        for i in range(n):
            beams.written[p, lane, i] = written[parents[lane], i]
        for i in range(1 + n_seen):
            places.seen[p, lane, i] = seen[parents[lane], i]
        beams.written[p, lane, n] = places.tokens[p, lane] = tokens[lane]
        beams.totals[p, lane] = totals[lane]
    places.length[p], places.lanes[p] = n + 1, len(parents)


@compiled
def _grow(job: Job, places: Places, beams: Beams, p: int, values: Array, flat: Array) -> bool:
    """One token more at a place, of the best continuations; false if that has ended the search."""
    options, found, text = job.options, job.found, beams.text[p]
    n, limit, kept = places.length[p] + 1, job.texts.limits[text], 0
    parents, tokens = np.zeros(options.width, np.int64), np.zeros(options.width, np.int64)
    totals = np.full(options.width, NEVER)
    penalty = options.penalty[n]
    for i in range(len(values)):
        parent, token = flat[i] // job.network.n_tokens, flat[i] % job.network.n_tokens
        if token == options.end:
            if values[i] > NEVER:
                ids = beams.written[p, parent, : n - 1]
                _add(found, text, ids, -1, values[i], values[i] / penalty, True)
        elif kept < options.width:
            parents[kept], tokens[kept], totals[kept] = parent, token, values[i]
            kept += 1
    if n >= limit:
        for lane in range(kept):
            if totals[lane] > NEVER:
                ids = beams.written[p, parents[lane], : n - 1]
                _add(found, text, ids, tokens[lane], totals[lane], totals[lane] / penalty, False)
        return False
    if _is_settled(found, text, totals[0], limit, options):
        return False
    _go_on(places, beams, p, parents, tokens, totals)
    return True


@compiled
def _grow_all(job: Job, places: Places, beams: Beams, alive: Array, logits: Array) -> int:
    """One token more at the places of the first; how many go on, which then come first."""
    n_rows, n_tokens = logits.shape
    tops = np.empty((n_rows, (n_tokens + TOKENS - 1) // TOKENS), np.float32)
    norms = np.empty(n_rows, np.float32)
    measure(0, 1, logits, tops, norms)
    wanted = job.options.width * 2 if job.options.width > 1 else 1
    values, flat = np.empty((1, wanted), np.float32), np.empty((1, wanted), np.int64)
    row, going = 0, 0
    for i in range(len(alive)):
        p = alive[i]
        n = places.lanes[p]
        own = logits[row : row + n], tops[row : row + n], norms[row : row + n]
        totals = beams.totals[p, :n].copy().reshape((1, n))
        choose(0, totals, own[0], own[1], own[2], job.options.never, values, flat)
        if np.isnan(values[0, 0]):
            job.shared.broken[0] = 1
            job.shared.stop[0] = 1
        elif _grow(job, places, beams, p, values[0], flat[0]):
            alive[i], alive[going] = alive[going], p
            going += 1
        row += n
    return going


@compiled
def _rooms(job: Job, n_places: int) -> tuple[Places, Beams]:
    """Places for some texts, none of which is taken."""
    texts, width, table = job.texts, job.options.width, job.network.decoder.table
    longest, longest_out = texts.starts[1] - texts.starts[0], texts.limits.max()
    n_own, g_own, d = 0, 1, 1
    for i in range(len(table)):
        of = table[i]
        if of.n_heads and not of.is_cross:
            n_own, g_own = n_own + 1, of.n_groups
            d = of.last_steps * 4 // of.n_heads
    memory = job.network.memory
    g = memory[0].n_groups
    shape = n_own, n_places, g_own, SLOTS, d
    size = len(memory), n_places, g, longest, memory[0].n_tiles * WIDTH // (2 * g)
    return (
        Places(
            np.zeros(n_places, np.int64),
            np.zeros(n_places, np.int64),
            np.zeros((n_places, width), np.int64),
            np.zeros((n_places, width, 1 + SLOTS + BLOCK), np.int32),
            np.zeros((n_places, width), np.int32),
            np.empty(shape, np.uint16),
            np.empty(shape, np.uint16),
            np.empty(size, np.uint16),
            np.empty(size, np.uint16),
            np.zeros((n_places, 1 + longest + BLOCK), np.int32),
        ),
        Beams(
            np.zeros(n_places, np.int64),
            np.zeros((n_places, width), np.float32),
            np.zeros((n_places, width, longest_out), np.int32),
        ),
    )


@compiled
def _length(texts: Texts, text: int) -> int:
    return texts.starts[text + 1] - texts.starts[text]


@compiled
def _take(job: Job, numbers: Array, n_places: int, tokens: int) -> int:
    """Texts to begin with beside `tokens` of others, to `numbers`; how many."""
    texts, n = job.texts, 0
    n_texts = len(texts.starts) - 1
    while n < n_places:
        coming = job.shared.next[0]
        if coming >= n_texts:
            break
        # another thread may take it, but what comes then is no longer than this
        if tokens and tokens + _length(texts, coming) > texts.at_once:
            break
        text = claim(job.shared.next.ctypes.data)
        if text >= n_texts:
            break
        numbers[n] = text
        tokens += _length(texts, text)
        n += 1
    return n


@compiled
def _start(job: Job, places: Places, beams: Beams, numbers: Array, where: Array) -> None:
    """Read some texts, each to a place of its own."""
    texts = job.texts
    starts = np.zeros(len(numbers) + 1, np.int64)
    for i in range(len(numbers)):
        starts[i + 1] = starts[i] + _length(texts, numbers[i])
    ids = np.empty(starts[-1], np.int64)
    for i in range(len(numbers)):
        for t in range(_length(texts, numbers[i])):
            ids[starts[i] + t] = texts.ids[texts.starts[numbers[i]] + t]
    keep(job.network, read(job.network, ids, starts), starts, places, where)
    for i in range(len(numbers)):
        p = where[i]
        beams.text[p], beams.totals[p, 0] = numbers[i], 0
        places.length[p], places.lanes[p] = 0, 1
        places.tokens[p, 0], places.seen[p, 0, 0] = job.options.start, 0


@compiled
def answer(job: Job, n_places: int, thread: int) -> None:
    """Answer texts until there are none left, as one of some threads, with room for `n_places`."""
    texts = job.texts
    places, beams = _rooms(job, n_places)
    order, numbers = np.arange(n_places), np.empty(n_places, np.int64)
    n, tokens = 0, 0  # of texts alive, which are those at the first places of the order
    while not job.shared.stop[0]:
        if REFILL * tokens <= texts.at_once:
            new = _take(job, numbers, n_places - n, tokens)
            if new:
                _start(job, places, beams, numbers[:new], order[n : n + new])
                for text in numbers[:new]:
                    tokens += _length(texts, text)
                n += new
        if n == 0:
            return
        for p in order[:n]:
            while not open_slots(places, p):
                places = wider(places)
        logits = step(job.network, places, order[:n])
        going = _grow_all(job, places, beams, order[:n], logits)
        for p in order[going:n]:
            job.shared.done[thread] += 1
            tokens -= _length(texts, beams.text[p])
        n = going
