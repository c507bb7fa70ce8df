"""Texts of unequal length through an encoder-decoder, without padding.

Tokens of all texts are rows, one behind another; only attention asks whose they are. A text that is
being written has a place of its own, with slots for keys and values of what its hypotheses say.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sublayer.loops.attend import BLOCK, Seen, attend_share, put_share
from sublayer.loops.compiled import compiled
from sublayer.loops.numbers import bfloat16
from sublayer.loops.product import multiply_alone
from sublayer.loops.sublayer import activate, add, layer_of, normalize
from sublayer.loops.tables import WIDTH, Array, Product


class Words(NamedTuple):
    """What tokens are read as: rows of a table in eight bits, and of one for positions."""

    table: Array
    """`v m` int8."""
    scales: Array
    """Of its rows, `v`."""
    by: np.float32
    """What all are multiplied by, sqrt(m) in the paper."""
    positions: Array
    """What is added, `n m`."""


class Layers(NamedTuple):
    """A stack."""

    table: Array
    """LAYERS, whose arrays must outlive the call."""
    norm: Array
    """Weight and bias of the one at the end, `2 m`."""
    eps: np.float32
    has_norm: bool


class Network(NamedTuple):
    """An encoder-decoder in eight bits."""

    source: Words
    target: Words
    encoder: Layers
    decoder: Layers
    memory: Array
    """LAYERS whose first product makes keys and values of a source, one a layer that sees it."""
    head: Product
    n_tokens: int
    """Of the target's vocabulary."""


class Places(NamedTuple):
    """Room for `p` texts that are written, of `w` hypotheses each."""

    length: Array
    """Tokens written, `p`."""
    lanes: Array
    """Hypotheses, `p`: one before the first token, then `w`."""
    tokens: Array
    """What each said last, `p w`."""
    seen: Seen
    """Slots that each sees, `p w 1+s`."""
    new: Array
    """The slot of what it said last, `p w`."""
    own_keys: Array
    own_values: Array
    """`l p g s d` in bfloat16, of `l` layers."""
    keys: Array
    values: Array
    """Of the sources, `l p g k d`."""
    sources: Seen
    """Slots of a source, `p 1+k`."""


@compiled
def _list_all(n: int, seen: Seen) -> None:
    """The first `n` slots as what is seen, by one for all."""
    seen[0] = n
    for t in range(n + BLOCK):
        seen[1 + t] = t if t < n else 0


@compiled
def embed(words: Words, token: int, position: int, out: Array) -> None:
    """A token becomes a vector `m`."""
    table, scales, by, positions = words
    scale = scales[token]
    for i in range(len(out)):
        out[i] = np.float32(table[token, i]) * scale * by + positions[position, i]


@compiled
def _multiply(x: Array, by: Product, n: int) -> Array:
    """x W^T + b of rows `r in` -> `r n`."""
    numbers = np.empty((len(x), by.tiles.shape[1] * 4), np.uint8)
    rounding, out = np.empty((len(x), 2), np.float32), np.empty((len(x), n), np.float32)
    multiply_alone(x, by, numbers, rounding, out)
    return out


@compiled
def _begin(x: Array, of: Any) -> Array:
    """The first product of a sublayer, a line of LAYERS."""
    layer, n = layer_of(of, x.shape[1]), of.n_tiles * WIDTH
    by = Product(layer.tiles, layer.columns, layer.least)
    if layer.is_post:
        return _multiply(x, by, n)
    normed = x.copy()
    normalize(normed, 0, len(x), layer.norm, layer.eps)
    return _multiply(normed, by, n)


@compiled
def _end(inner: Array, x: Array, of: Any) -> Array:
    """The second product of a sublayer and the stream."""
    layer = layer_of(of, x.shape[1])
    by = Product(layer.last_tiles, layer.last_columns, np.float32(-np.inf))
    out = _multiply(inner, by, x.shape[1])
    add(x, 0, len(x), out)
    if layer.is_post:
        normalize(out, 0, len(x), layer.norm, layer.eps)
    return out


@compiled
def _ended(x: Array, layers: Layers) -> Array:
    if layers.has_norm:
        normalize(x, 0, len(x), layers.norm, layers.eps)
    return x


@compiled
def _attend_among(inner: Array, starts: Array, of: Any) -> Array:
    """Each text's tokens to one another; they begin at `starts`, one more than there are texts."""
    h, g = of.n_heads, of.n_groups
    d = inner.shape[1] // (h + 2 * g)
    mixed = np.empty((len(inner), h * d), np.float32)
    for text in range(len(starts) - 1):
        first, last = starts[text], starts[text + 1]
        n = last - first
        heads = inner[first:last].reshape((1, n, h + 2 * g, d))
        keys, values = np.empty((1, g, n, d), np.uint16), np.empty((1, g, n, d), np.uint16)
        put_share(0, 1, heads, h, keys, values, 0)
        seen = np.empty((1, 1, 1 + n + BLOCK), np.int32)
        _list_all(n, seen[0, 0])
        out = mixed[first:last].reshape((1, n, h, d))
        attend_share(0, 1, heads, keys, values, 0, seen, out)
    return mixed


@compiled
def read(network: Network, ids: Array, starts: Array) -> Array:
    """Ids of texts, which begin at `starts`, as the encoder's vectors `r m`."""
    x = np.empty((len(ids), network.source.table.shape[1]), np.float32)
    for text in range(len(starts) - 1):
        for row in range(starts[text], starts[text + 1]):
            embed(network.source, ids[row], row - starts[text], x[row])
    table = network.encoder.table
    for i in range(len(table)):
        of = table[i]
        inner = _begin(x, of)
        if of.n_heads:
            inner = _attend_among(inner, starts, of)
        else:
            activate(inner.reshape(inner.size), 0, inner.size, of.act)
        x = _end(inner, x, of)
    return _ended(x, network.encoder)


@compiled
def keep(network: Network, memory: Array, starts: Array, places: Places, where: Array) -> None:
    """Keys and values of sources that were read go to the places of their texts."""
    for text in range(len(starts) - 1):
        _list_all(starts[text + 1] - starts[text], places.sources[where[text]])
    for i in range(len(network.memory)):
        of = network.memory[i]
        layer = layer_of(of, memory.shape[1])
        both = _multiply(
            memory, Product(layer.tiles, layer.columns, layer.least), of.n_tiles * WIDTH
        )
        for text in range(len(starts) - 1):
            for row in range(starts[text], starts[text + 1]):
                t, p = row - starts[text], where[text]
                _keep_one(both[row], places.keys[i, p], places.values[i, p], t)


@compiled
def _keep_one(both: Array, keys: Array, values: Array, t: int) -> None:
    """Keys and values of all heads, `2gd`, to slot `t` of `g k d`."""
    g, d = keys.shape[0], keys.shape[2]
    for group in range(g):
        for i in range(d):
            keys[group, t, i] = bfloat16(both[group * d + i])
            values[group, t, i] = bfloat16(both[(g + group) * d + i])


@compiled
def open_slots(places: Places, p: int) -> bool:
    """Slots for what the hypotheses at a place said last: such as none of them sees.

    False if there are too few.
    """
    n_lanes, size = places.lanes[p], places.own_keys.shape[3]
    is_seen = np.zeros(size, np.bool_)
    for lane in range(n_lanes):
        for t in range(places.seen[p, lane, 0]):
            is_seen[places.seen[p, lane, 1 + t]] = True
    slot = 0
    for lane in range(n_lanes):
        while slot < size and is_seen[slot]:
            slot += 1
        if slot == size:
            return False
        places.new[p, lane] = slot
        slot += 1
    for lane in range(n_lanes):
        own, n = places.seen[p, lane], places.seen[p, lane, 0]
        own[0] = n + 1
        for t in range(n, n + BLOCK):  # and fills the last block
            own[1 + t] = places.new[p, lane]
    return True


@compiled
def _with_room(kept: Array, room: int) -> Array:
    """Keys or values `l p g s d` with `room` in place of `s`."""
    layers, n, g, s, d = kept.shape
    wide = np.empty((layers, n, g, room, d), np.uint16)
    to, of = wide.reshape((layers * n * g, room * d)), kept.reshape((layers * n * g, s * d))
    for row in range(len(of)):
        for i in range(of.shape[1]):
            to[row, i] = of[row, i]
    return wide


@compiled
def wider(places: Places) -> Places:
    """The same with twice as many slots."""
    old = places.own_keys.shape[3]
    n, w, filled = places.seen.shape
    seen = np.empty((n, w, filled + old), np.int32)
    for p in range(n):
        for lane in range(w):
            for i in range(filled):
                seen[p, lane, i] = places.seen[p, lane, i]
    return Places(
        places.length,
        places.lanes,
        places.tokens,
        seen,
        places.new,
        _with_room(places.own_keys, 2 * old),
        _with_room(places.own_values, 2 * old),
        places.keys,
        places.values,
        places.sources,
    )


@compiled
def _attend_past(inner: Array, places: Places, alive: Array, layer: int, of: Any) -> Array:
    """Each hypothesis to what it has said, what it says now with it."""
    h, g = of.n_heads, of.n_groups
    d = places.own_keys.shape[4]
    mixed = np.empty((len(inner), h * d), np.float32)
    row = 0
    for p in alive:
        n = places.lanes[p]
        keys, values = places.own_keys[layer, p], places.own_values[layer, p]
        for lane in range(n):
            for group in range(g):
                slot, own = places.new[p, lane], inner[row + lane]
                for i in range(d):
                    keys[group, slot, i] = bfloat16(own[(h + group) * d + i])
                    values[group, slot, i] = bfloat16(own[(h + g + group) * d + i])
        heads = inner[row : row + n].reshape((1, n, h + 2 * g, d))
        out, seen = mixed[row : row + n].reshape((1, n, h, d)), places.seen[p : p + 1]
        own_keys = places.own_keys[layer, p : p + 1]
        own_values = places.own_values[layer, p : p + 1]
        attend_share(0, 1, heads, own_keys, own_values, 0, seen, out)
        row += n
    return mixed


@compiled
def _attend_sources(inner: Array, places: Places, alive: Array, layer: int, of: Any) -> Array:
    """Each hypothesis to its source."""
    h, d = of.n_heads, places.keys.shape[4]
    mixed = np.empty((len(inner), h * d), np.float32)
    row = 0
    for p in alive:
        n = places.lanes[p]
        heads = inner[row : row + n].reshape((1, n, h, d))
        out = mixed[row : row + n].reshape((1, n, h, d))
        seen = places.sources[p].reshape((1, 1, places.sources.shape[1]))
        keys, values = places.keys[layer, p : p + 1], places.values[layer, p : p + 1]
        attend_share(0, 1, heads, keys, values, 0, seen, out)
        row += n
    return mixed


@compiled
def step(network: Network, places: Places, alive: Array) -> Array:
    """What the hypotheses at some places said last -> logits `r v` of what comes next."""
    rows = 0
    for p in alive:
        rows += places.lanes[p]
    x, row = np.empty((rows, network.target.table.shape[1]), np.float32), 0
    for p in alive:
        for lane in range(places.lanes[p]):
            embed(network.target, places.tokens[p, lane], places.length[p], x[row])
            row += 1
    table, own, cross = network.decoder.table, 0, 0
    for i in range(len(table)):
        of = table[i]
        inner = _begin(x, of)
        if not of.n_heads:
            activate(inner.reshape(inner.size), 0, inner.size, of.act)
        elif of.is_cross:
            inner = _attend_sources(inner, places, alive, cross, of)
            cross += 1
        else:
            inner = _attend_past(inner, places, alive, own, of)
            own += 1
        x = _end(inner, x, of)
    return _multiply(_ended(x, network.decoder), network.head, network.n_tokens)
