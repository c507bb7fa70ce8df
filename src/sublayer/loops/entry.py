"""A search as a function of C: what it works on comes as one record of addresses and sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from sublayer.loops.compiled import compiled, compiled_for_c
from sublayer.loops.instructions import place
from sublayer.loops.ragged import Layers, Network, Words
from sublayer.loops.search import Found, Job, Options, Shared, Texts, answer
from sublayer.loops.tables import HYPOTHESES, LAYERS, TOLD, WIDTH, Array, Product


@compiled
def _words(of: Any, m: int) -> Words:
    return Words(
        carray(place(of.table), (of.n_tokens, m), np.int8),
        carray(place(of.scales), (of.n_tokens,), np.float32),
        np.float32(of.by),
        carray(place(of.positions), (of.n_positions, m), np.float32),
    )


@compiled
def _layers(of: Any, m: int) -> Layers:
    return Layers(
        carray(place(of.table), (of.n,), LAYERS),
        carray(place(of.norm), (2, m), np.float32),
        np.float32(of.eps),
        of.has_norm != 0,
    )


@compiled
def _network(of: Any) -> Network:
    head = of.head
    by = Product(
        carray(place(head.tiles), (head.n_tiles, head.steps, WIDTH, 4), np.int8),
        carray(place(head.columns), (3, head.n_tiles, WIDTH), np.float32),
        np.float32(-np.inf),
    )
    return Network(
        _words(of.source, of.m),
        _words(of.target, of.m),
        _layers(of.encoder, of.m),
        _layers(of.decoder, of.m),
        carray(place(of.memory), (of.n_memory,), LAYERS),
        by,
        head.n_tokens,
    )


@compiled
def _numbers(address: int, n: int) -> Array:
    return carray(place(address), (n,), np.int64)


@compiled
def _texts(of: Any) -> Texts:
    starts, limits = _numbers(of.starts, of.n + 1), _numbers(of.limits, of.n)
    return Texts(_numbers(of.ids, of.n_ids), starts, limits, of.at_once)


@compiled
def _options(of: Any) -> Options:
    penalty = carray(place(of.penalty), (of.longest + 1,), np.float64)
    never = _numbers(of.never, of.n_never)
    return Options(of.width, of.enough, of.start, of.end, never, penalty)


@compiled
def _found(of: Any, n: int, longest: int) -> Found:
    return Found(
        carray(place(of.ids), (n, of.n_best, longest), np.int32),
        carray(place(of.best), (n, of.n_best), HYPOTHESES),
        _numbers(of.n_found, n),
    )


@compiled
def _shared(of: Any) -> Shared:
    done = _numbers(of.done, of.n_threads)
    return Shared(_numbers(of.next, 1), _numbers(of.stop, 1), _numbers(of.broken, 1), done)


@compiled_for_c("void(intp, intp)")
def search(address: int, thread: int) -> None:
    """Answer texts as a thread of those that are told the same (TOLD, at an address)."""
    told = carray(place(address), (1,), TOLD)[0]
    found = _found(told.found, told.texts.n, told.options.longest)
    network, texts, options = _network(told.network), _texts(told.texts), _options(told.options)
    answer(Job(network, texts, options, found, _shared(told.shared)), told.n_places, thread)
