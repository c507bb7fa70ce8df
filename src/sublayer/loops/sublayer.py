"""LayerNorm(x + Sublayer(x)), or x + Sublayer(LayerNorm(x)), as one call.

A step of one token is some twenty sublayers of ten operations each, and each operation of PyTorch
costs microseconds before it begins. Here a sublayer is six phases, each shared by the threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from sublayer.loops.attend import attend_share
from sublayer.loops.compiled import Array, compiled, compiled_for_threads, n_threads
from sublayer.loops.instructions import WIDTH
from sublayer.loops.product import FEW, FEWEST, Product, multiply_share, round_rows


class Layer(NamedTuple):
    """Two products and a LayerNorm; flat, since threads share no tuples in tuples."""

    norm: Array
    """Weight and bias, `2 m`."""
    eps: np.float32
    is_post: bool
    """Whether the norm comes after the sum, in place of before the sublayer."""
    tiles: Array
    columns: Array
    least: np.float32
    """Of the first product, as in `Product`."""
    last_tiles: Array
    last_columns: Array
    """Of the second."""


class Past(NamedTuple):
    """What attention between the two products goes to; with no heads there is none."""

    keys: Array
    values: Array
    length: int
    seen: Array
    n_heads: int


@compiled
def _normalize(x: Array, first: int, last: int, norm: Array, eps: float) -> None:
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
def _add(x: Array, first: int, last: int, out: Array) -> None:
    for row in range(first, last):
        for i in range(x.shape[1]):
            out[row, i] += x[row, i]


@compiled
def _room(x: Array, layer: Layer, n_heads: int) -> tuple[Array, Array, Array, Array, Array]:
    """Where the phases leave what they make."""
    rows = x.shape[0] * x.shape[1]
    first, second = layer.tiles.shape, layer.last_tiles.shape
    inner = np.empty((rows, first[0], WIDTH), np.float32)
    mixed = np.empty((rows, second[1] * 4 if n_heads else 0), np.float32)
    numbers = np.empty((rows, first[1] * 4), np.uint8)
    later = np.empty((rows, second[1] * 4), np.uint8)
    return inner, mixed, numbers, later, np.empty((rows, 2), np.float32)


@compiled
def _phase(
    phase: int,
    part: int,
    parts: int,
    x: Array,
    layer: Layer,
    past: Past,
    room: tuple[Array, ...],
    out: Array,
) -> None:
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
            _normalize(ended, first, last, layer.norm, layer.eps)
            round_rows(ended, first, last, numbers, rounding)
    elif phase == 1:
        by = Product(layer.tiles, layer.columns, layer.least)
        multiply_share(part, parts, numbers, rounding, by, inner)
    elif phase == 2:
        if past.n_heads:
            d = mixed.shape[1] // past.n_heads
            heads = inner.reshape((b, n, inner.shape[1] * WIDTH // d, d))
            to = mixed.reshape((b, n, past.n_heads, d))
            attend_share(part, parts, heads, past.keys, past.values, past.length, past.seen, to)
    elif phase == 3:
        flat = mixed if past.n_heads else inner.reshape((rows, inner.shape[1] * WIDTH))
        round_rows(flat, first, last, later, rounding)
    elif phase == 4:
        tiled = out.reshape((rows, m // WIDTH, WIDTH))
        by = Product(layer.last_tiles, layer.last_columns, np.float32(-np.inf))
        multiply_share(part, parts, later, rounding, by, tiled)
    else:
        _add(stream, first, last, ended)
        if layer.is_post:
            _normalize(ended, first, last, layer.norm, layer.eps)


@compiled
def _alone(x: Array, layer: Layer, past: Past, out: Array) -> None:
    room = _room(x, layer, past.n_heads)
    for phase in range(6):
        _phase(phase, 0, 1, x, layer, past, room, out)


@compiled_for_threads
def _together(parts: int, x: Array, layer: Layer, past: Past, out: Array) -> None:
    room = _room(x, layer, past.n_heads)
    for phase in range(6):
        is_small = phase != 1 and phase != 4 and x.shape[0] * x.shape[1] <= FEW
        if is_small:
            _phase(phase, 0, 1, x, layer, past, room, out)
        else:
            for part in numba.prange(parts):
                _phase(phase, part, parts, x, layer, past, room, out)


def sublayer(x: Array, layer: Layer, past: Past) -> Array:
    """The stream `b n m` after the sublayer. All products are of whole tiles."""
    out, parts = np.empty_like(x), n_threads()
    if parts == 1 or layer.tiles.size < FEWEST:
        _alone(x, layer, past, out)
    else:
        _together(parts, x, layer, past, out)
    return out
