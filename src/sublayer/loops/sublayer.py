"""LayerNorm(x + Sublayer(x)), or x + Sublayer(LayerNorm(x)), many of them as one call.

A step of one token is some twenty sublayers of ten operations each, and each operation of PyTorch
costs microseconds before it begins. Here a sublayer is six phases, each shared by the threads.
Threads share no lists of arrays, so what sublayers are made of comes as tables of addresses: whose
arrays these are must outlive the call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numba.np.numpy_support import carray

from sublayer.loops.attend import Seen, attend_share, put_share
from sublayer.loops.compiled import compiled, compiled_for_threads, n_threads
from sublayer.loops.instructions import place
from sublayer.loops.numbers import gated
from sublayer.loops.product import FEW, multiply_share, round_rows
from sublayer.loops.tables import GELU_TANH, SILU, WIDTH, Array, Layer, Product

SLOPE, BEND = np.float32(2 * np.sqrt(2 / np.pi)), np.float32(0.044715)
FIRST, SECOND, PHASES = 1, 4, 6
"""The phases that are products, and how many there are."""


class Past(NamedTuple):
    """What attention between the two products goes to; with no heads there is none."""

    keys: Array
    values: Array
    length: int
    seen: Array
    n_heads: int


@compiled
def normalize(x: Array, first: int, last: int, norm: Array, eps: float) -> None:
    """Rows in place, by which a compiler sees that nothing overlaps."""
    n = x.shape[1]
    for row in range(first, last):
        total = squares = np.float32(0)
        for i in range(n):
            total += x[row, i]
        mean = total / np.float32(n)
        for i in range(n):
            difference = x[row, i] - mean
            squares += difference * difference
        scale = np.float32(1) / np.sqrt(squares / np.float32(n) + eps)
        for i in range(n):
            x[row, i] = (x[row, i] - mean) * scale * norm[0, i] + norm[1, i]


@compiled
def add(x: Array, first: int, last: int, out: Array) -> None:
    """Rows to those of `out`."""
    for row in range(first, last):
        for i in range(x.shape[1]):
            out[row, i] += x[row, i]


@compiled
def activate(x: Array, first: int, last: int, act: int) -> None:
    """Numbers in place: Hendrycks & Gimpel 2016, "GELU"; SiLU of its section 4."""
    if act == SILU:
        for i in range(first, last):
            x[i] = gated(x[i], x[i])
    elif act == GELU_TANH:
        # (1 + tanh u) / 2 is 1 / (1 + e^-2u)
        for i in range(first, last):
            twice = SLOPE * (x[i] + BEND * x[i] * x[i] * x[i])
            x[i] = gated(x[i], twice)


@compiled
def _room(x: Array, of: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Where the phases of a line of LAYERS leave what they make."""
    rows, later = x.shape[0] * x.shape[1], of.last_steps * 4
    inner = np.empty((rows, of.n_tiles * WIDTH), np.float32)
    mixed = np.empty((rows, later if of.n_heads else 0), np.float32)
    numbers = np.empty((rows, of.steps * 4), np.uint8)
    return inner, mixed, numbers, np.empty((rows, later), np.uint8), np.empty((rows, 2), np.float32)


@compiled
def layer_of(of: Any, m: int) -> Layer:
    """A line of LAYERS as arrays."""
    tiles = carray(place(of.tiles), (of.n_tiles, of.steps, WIDTH, 4), np.int8)
    columns = carray(place(of.columns), (3, of.n_tiles, WIDTH), np.float32)
    shape = of.n_last_tiles, of.last_steps, WIDTH, 4
    last_tiles = carray(place(of.last_tiles), shape, np.int8)
    last_columns = carray(place(of.last_columns), (3, of.n_last_tiles, WIDTH), np.float32)
    norm = carray(place(of.norm), (2, m), np.float32)
    products = tiles, columns, of.least, last_tiles, last_columns
    return Layer(norm, of.eps, of.is_post, *products, of.act)


@compiled
def _past(to: Any, of: Any, rows: int, own: Seen, others: Seen) -> Past:
    """A line of PASTS as arrays."""
    # heads are what the second product reads, in whole tiles
    shape = rows, of.n_groups, to.slots, of.last_steps * 4 // max(of.n_heads, 1)
    keys = carray(place(to.keys), shape, np.uint16)
    values = carray(place(to.values), shape, np.uint16)
    return Past(keys, values, to.length, others if of.is_cross else own, of.n_heads)


@compiled
def _phase(
    i: int,
    phase: int,
    part: int,
    parts: int,
    x: Array,
    tables: tuple[Array, ...],
    room: tuple[Array, ...],
    out: Array,
) -> None:
    """A thread's part of a phase of sublayer `i`."""
    layers, pasts, own, others = tables
    layer = layer_of(layers[i], x.shape[2])
    past = _past(pasts[i], layers[i], len(x), own, others)
    inner, mixed, numbers, later, rounding = room
    b, n, m = x.shape
    stream, rows = x.reshape((b * n, m)), b * n
    first, last = rows * part // parts, rows * (part + 1) // parts
    ended = out.reshape((rows, m))
    if phase == 0:
        if layer.is_post:
            round_rows(stream, first, last, numbers, rounding)
        else:
            ended[first:last] = stream[first:last]
            normalize(ended, first, last, layer.norm, layer.eps)
            round_rows(ended, first, last, numbers, rounding)
    elif phase == FIRST:
        by = Product(layer.tiles, layer.columns, layer.least)
        multiply_share(part, parts, numbers, rounding, by, inner)
    elif phase == 2:
        if past.n_heads:
            d = mixed.shape[1] // past.n_heads
            heads = inner.reshape((b, n, inner.shape[1] // d, d))
            to = mixed.reshape((b, n, past.n_heads, d))
            put_share(part, parts, heads, past.n_heads, past.keys, past.values, past.length)
            attend_share(part, parts, heads, past.keys, past.values, past.length, past.seen, to)
        else:
            flat = inner.reshape(inner.size)
            begin, end = inner.size * part // parts, inner.size * (part + 1) // parts
            activate(flat, begin, end, layer.act)
    elif phase == 3:
        round_rows(mixed if past.n_heads else inner, first, last, later, rounding)
    elif phase == SECOND:
        by = Product(layer.last_tiles, layer.last_columns, np.float32(-np.inf))
        multiply_share(part, parts, later, rounding, by, ended)
    else:
        add(stream, first, last, ended)
        if layer.is_post:
            normalize(ended, first, last, layer.norm, layer.eps)


@compiled
def _alone(x: Array, tables: tuple[Array, ...], there: Array, back: Array) -> None:
    stream, layers = x, tables[0]
    for i in range(len(layers)):
        out, room = back if i % 2 else there, _room(x, layers[i])
        for phase in range(PHASES):
            _phase(i, phase, 0, 1, stream, tables, room, out)
        stream = out


@compiled_for_threads
def _together(parts: int, x: Array, tables: tuple[Array, ...], there: Array, back: Array) -> None:
    stream, layers = x, tables[0]
    for i in range(len(layers)):
        out, room = back if i % 2 else there, _room(x, layers[i])
        for phase in range(PHASES):
            if phase != FIRST and phase != SECOND and x.shape[0] * x.shape[1] <= FEW:
                _phase(i, phase, 0, 1, stream, tables, room, out)
            else:
                for part in numba.prange(parts):
                    _phase(i, phase, part, parts, stream, tables, room, out)
        stream = out


def sublayers(
    x: Array, layers: Array, pasts: Array, own: Seen, others: Seen, *, alone: bool = False
) -> Array:
    """The stream `b n m` after `layers` (LAYERS), of which each goes to its own of `pasts` (PASTS).

    Self-attention sees `own` slots, attention to a memory `others`. Products are of whole tiles.
    What is too small for several threads (`FEWEST`) goes `alone`.
    """
    there, back, parts = np.empty_like(x), np.empty_like(x), n_threads()
    tables = layers, pasts, own, others
    if parts == 1 or alone:
        _alone(x, tables, there, back)
    else:
        _together(parts, x, tables, there, back)
    return there if len(layers) % 2 else back
