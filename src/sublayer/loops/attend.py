"""Attention of a few new tokens to keys that lie in a buffer with room.

PyTorch multiplies all queries of a row with all of its keys and hides what is not to be seen. Here
each query goes through its own slots, new keys are put behind the past on the way, and no tensor
of scores is written. Keys and values are float32, or bfloat16 as the upper half of it (uint16).
"""

from __future__ import annotations

import numpy as np

from sublayer.loops.compiled import compiled, inlined
from sublayer.loops.instructions import fetch
from sublayer.loops.numbers import exp, narrow, wide
from sublayer.loops.tables import LINE, Array

AHEAD = 256
"""Vectors that are asked for ahead: of longer streams a processor takes care by itself."""
BLOCK = 4
"""Slots that are gone through together."""
Ahead = tuple[int, int]
"""Address of memory that will be wanted soon, and the lines of it to ask for at each block."""
Seen = Array
"""Slots that are seen, `b q 1+k`: of each query how many, then which, then some to fill a block."""


@inlined
def _ask_for(ahead: Ahead, block: int) -> None:
    """What will be wanted soon, while a block is gone through."""
    address, lines = ahead
    for line in range(block * lines, (block + 1) * lines):
        fetch(address + line * LINE)


@inlined
def _scores(
    query: Array,
    keys: Array,
    row: int,
    group: int,
    slots: Array,
    n: int,
    scores: Array,
    ahead: Ahead,
) -> np.float32:
    """The products of a query and its keys; the largest."""
    top = np.float32(-np.inf)
    for t in range(0, n, BLOCK):
        _ask_for(ahead, t // BLOCK)
        a, b, c, e = slots[t], slots[t + 1], slots[t + 2], slots[t + 3]
        w = x = y = z = np.float32(0)
        for i in range(len(query)):
            w += query[i] * wide(keys[row, group, a, i])
            x += query[i] * wide(keys[row, group, b, i])
            y += query[i] * wide(keys[row, group, c, i])
            z += query[i] * wide(keys[row, group, e, i])
        scores[t], scores[t + 1], scores[t + 2], scores[t + 3] = w, x, y, z
        top = max(top, max(max(w, x), max(y, z)))
    return top


@inlined
def _weights(scores: Array, n: int, filled: int, top: np.float32) -> np.float32:
    """e^(score - top) in place of the first `n`, nothing in place of others; their sum."""
    total = np.float32(0)
    for t in range(n):
        scores[t] = exp(scores[t] - top)
        total += scores[t]
    for t in range(n, filled):
        scores[t] = 0
    return total


@inlined
def _mix(
    weights: Array,
    values: Array,
    row: int,
    group: int,
    slots: Array,
    n: int,
    out: Array,
    ahead: Ahead,
) -> None:
    """The sum of values, each by its weight."""
    for i in range(len(out)):
        out[i] = 0
    for t in range(0, n, BLOCK):
        _ask_for(ahead, t // BLOCK)
        a, b, c, e = slots[t], slots[t + 1], slots[t + 2], slots[t + 3]
        w, x, y, z = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for i in range(len(out)):
            out[i] += (w * wide(values[row, group, a, i]) + x * wide(values[row, group, b, i])) + (
                y * wide(values[row, group, c, i]) + z * wide(values[row, group, e, i])
            )


@inlined
def _put(heads: Array, row: int, j: int, head: int, kept: Array, group: int, slot: int) -> None:
    """A vector goes where vectors are kept."""
    for i in range(heads.shape[3]):
        kept[row, group, slot, i] = narrow(heads[row, j, head, i], kept[row, group, slot, i])


@compiled
def put_share(
    part: int, parts: int, heads: Array, h: int, keys: Array, values: Array, past: int
) -> None:
    """New keys and values, behind `h` queries of `b n (h + 2g) d`, go where those of the past are.

    That is `b g k d`, from slot `past` on. One of `parts` threads does those that it will attend
    to; where there are only queries, nothing.
    """
    b, n, g = heads.shape[0], heads.shape[1], keys.shape[1]
    n_new = n if heads.shape[2] > h else 0
    for unit in range(b * g * part // parts, b * g * (part + 1) // parts):
        row, group = unit // g, unit % g
        for j in range(n_new):
            _put(heads, row, j, h + group, keys, group, past + j)
            _put(heads, row, j, h + g + group, values, group, past + j)


@compiled
def attend_share(
    part: int,
    parts: int,
    heads: Array,
    keys: Array,
    values: Array,
    past: int,
    seen: Seen,
    out: Array,
) -> None:
    """Queries, the first of `b n h.. d`, and what they see of `b g k d` -> mixtures `b n h d`.

    One of `parts` threads does whole groups of heads, so that nobody waits for keys; those of the
    `past` are asked for ahead.
    """
    b, n, h, d = out.shape
    g, scale = keys.shape[1], np.float32(1 / np.sqrt(d))
    room, slots = np.empty(seen.shape[2], np.float32), np.empty(seen.shape[2], np.int32)
    query, mixed = np.empty(d, np.float32), np.empty(d, np.float32)
    n_asking = n * (h // g)
    lines = (min(past, AHEAD) * keys.strides[2] + LINE - 1) // LINE
    for unit in range(b * g * part // parts, b * g * (part + 1) // parts):
        row, group = unit // g, unit % g
        for j in range(n):
            of, by = row % seen.shape[0], j % seen.shape[1]
            n_seen = seen[of, by, 0]
            blocks = (n_seen + BLOCK - 1) // BLOCK
            filled, at_once = blocks * BLOCK, -(-lines // max(n_asking * blocks, 1))
            for t in range(filled):
                slots[t] = seen[of, by, 1 + t]
            for i in range(h // g):
                head = group * (h // g) + i
                for k in range(d):
                    query[k] = heads[row, j, head, k] * scale
                # of the next unit, a share a query: asked for all at once, others would wait
                ahead = min(unit + 1, b * g - 1) * keys.strides[1]
                ahead += lines * (j * (h // g) + i) // n_asking * LINE
                soon = keys.ctypes.data + ahead, at_once
                top = _scores(query, keys, row, group, slots, filled, room, soon)
                total = _weights(room, n_seen, filled, top)
                soon = values.ctypes.data + ahead, at_once
                _mix(room, values, row, group, slots, filled, mixed, soon)
                scaled = np.float32(1) / total if n_seen else np.float32(0)
                for k in range(d):
                    out[row, j, head, k] = mixed[k] * scaled


@compiled
def _listed(allowed: Array, seen: Seen) -> None:
    for row in range(allowed.shape[0]):
        for j in range(allowed.shape[1]):
            n = 0
            for i in range(allowed.shape[2]):
                seen[row, j, 1 + n] = i
                n += allowed[row, j, i]
            seen[row, j, 0] = n
            for t in range(n, min(n + BLOCK, seen.shape[2] - 1)):
                seen[row, j, 1 + t] = seen[row, j, 1]


def listed(allowed: Array | None, n_keys: int) -> Seen:
    """A mask `b q k` as what is seen; None is all of `n_keys`.

    Rows or queries that are alike may be one.

    Raises:
        ValueError: the mask is of another number of keys.
    """
    if allowed is not None and allowed.shape[2] != n_keys:
        raise ValueError(f"a mask of {allowed.shape[2]} keys, but there are {n_keys}")
    filled = -(-n_keys // BLOCK) * BLOCK
    if allowed is None:
        seen = np.arange(-1, filled, dtype=np.int32)
        seen[0], seen[1 + n_keys :] = n_keys, 0
        return seen.reshape(1, 1, -1)
    # one more, as each is written before it is known to be seen
    seen = np.empty((*allowed.shape[:2], filled + 2), np.int32)
    _listed(allowed, seen)
    return seen
