"""Products in eight bits: each row gets a scale of its own as it comes.

A product of what is read once, weights of a decoder, waits for memory. So while a tile of columns
is multiplied by one block of rows after another, the next tile is asked for.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.np.numpy_support import carray

from sublayer.loops.compiled import compiled, compiled_for_threads, inlined, n_threads
from sublayer.loops.instructions import QUADS, ROWS, place, sum_all, sum_part
from sublayer.loops.numbers import ordered, unordered
from sublayer.loops.tables import LINE, WIDTH, Array, Product

FEW = 8
"""Rows up to which one thread sees to what is done row by row."""
FEWEST = 1 << 15
"""Weights from which on a second thread is worth waking."""


@compiled
def round_rows(x: Array, first: int, last: int, numbers: Array, rounding: Array) -> None:
    """Rows in eight bits: x is about (number - zero) scale, and 0 is exact."""
    k = x.shape[1]
    for row in range(first, last):
        low = high = np.int32(0)
        for i in range(k):
            place = ordered(x[row, i])
            low, high = min(low, place), max(high, place)
        least = unordered(low)
        scale = (unordered(high) - least) / np.float32(255)
        scale = np.float32(1) if scale == 0 else scale
        scale = np.float32(np.nan) if scale == np.inf else scale
        zero, per = np.floor(np.float32(0.5) - least / scale), np.float32(1) / scale
        for i in range(k):
            number = np.int32(x[row, i] * per + (zero + np.float32(0.5)))
            numbers[row, i] = np.uint8(min(number, np.int32(255)))  # the largest may be just over
        for i in range(k, numbers.shape[1]):
            numbers[row, i] = 0
        rounding[row, 0], rounding[row, 1] = scale, zero


@inlined
def _finish(
    sums: Array,
    rows: int,
    rounding: Array,
    first: int,
    columns: Array,
    tile: int,
    least: float,
    to: tuple[int, int],
) -> None:
    """Sums of a block become numbers: scales, bias, and `least` where they are less.

    `to` is the address of the first row of what comes out, and the bytes from row to row.
    """
    address, stride = to
    for row in range(rows):
        out = carray(place(address + row * stride), (WIDTH,), np.float32)
        scale, zero = rounding[first + row, 0], rounding[first + row, 1]
        for i in range(WIDTH):
            total = np.float32(sums[row, i]) - zero * columns[0, tile, i]
            y = total * (scale * columns[1, tile, i]) + columns[2, tile, i]
            out[i] = least if y < least else y


@compiled
def multiply_share(
    part: int, parts: int, numbers: Array, rounding: Array, by: Product, out: Array
) -> None:
    """The tiles of one of `parts` threads; of the last, what `out`, `r n`, has room for."""
    tiles, columns, least = by
    n_tiles, steps = tiles.shape[0], tiles.shape[1]
    (n_rows, stride), n = numbers.shape, out.shape[1]
    size, blocks = steps * WIDTH * 4, (n_rows + ROWS - 1) // ROWS
    sums, edge = np.empty((ROWS, WIDTH), np.int32), np.empty((ROWS, WIDTH), np.float32)
    for tile in range(n_tiles * part // parts, n_tiles * (part + 1) // parts):
        here, left = tiles.ctypes.data + tile * size, n - tile * WIDTH
        then = tiles.ctypes.data + min(tile + 1, n_tiles - 1) * size
        for block in range(blocks):
            first, last = n_rows * block // blocks, n_rows * (block + 1) // blocks
            at, x, rows = sums.ctypes.data, numbers.ctypes.data + first * stride, last - first
            if blocks == 1:
                sum_all(rows, at, x, stride, here, steps, then)
            else:
                ahead = then + min(block, QUADS - 1) * steps * LINE
                sum_part(rows, at, x, stride, here, steps, ahead)
            to = out.ctypes.data + (first * n + tile * WIDTH) * 4, n * 4
            if left < WIDTH:
                to = edge.ctypes.data, WIDTH * 4
            _finish(sums, rows, rounding, first, columns, tile, least, to)
            if left < WIDTH:
                for row in range(rows):
                    for i in range(left):
                        out[first + row, tile * WIDTH + i] = edge[row, i]


@compiled
def multiply_alone(x: Array, by: Product, numbers: Array, rounding: Array, out: Array) -> None:
    """All rows by one thread; `numbers` and `rounding` are room for them in eight bits."""
    round_rows(x, 0, len(x), numbers, rounding)
    multiply_share(0, 1, numbers, rounding, by, out)


@compiled_for_threads
def _together(
    parts: int, x: Array, by: Product, numbers: Array, rounding: Array, out: Array
) -> None:
    n_rows = len(x)
    if n_rows <= FEW:
        round_rows(x, 0, n_rows, numbers, rounding)
    else:
        for part in numba.prange(parts):
            first, last = n_rows * part // parts, n_rows * (part + 1) // parts
            round_rows(x, first, last, numbers, rounding)
    for part in numba.prange(parts):
        multiply_share(part, parts, numbers, rounding, by, out)


def product(x: Array, by: Product, n: int) -> Array:
    """x W^T + b of rows `r in` -> `r n`."""
    n_rows, steps = len(x), by.tiles.shape[1]
    numbers = np.empty((n_rows, steps * 4), np.uint8)
    rounding = np.empty((n_rows, 2), np.float32)
    out = np.empty((n_rows, n), np.float32)
    parts = n_threads()
    if parts == 1 or by.tiles.size < FEWEST:
        multiply_alone(x, by, numbers, rounding, out)
    else:
        _together(parts, x, by, numbers, rounding, out)
    return out
