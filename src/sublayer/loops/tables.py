"""What loops are told of networks: arrays, and tables of their addresses; made without numba."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LINE = 64
"""Bytes that come from memory together, and bytes of a register."""
WIDTH = 64
"""Columns of a tile."""
LONGEST = 1 << 16
"""Weights of a column whose sum fits."""
NO_ACT, SILU, GELU_TANH = range(3)
"""What is between two products that is no part of the first; GELU by its tanh."""
ACTS = {"none": NO_ACT, "relu": NO_ACT, "silu": SILU, "gelu_tanh": GELU_TANH}
"""By the names of plans: a ReLU is a part of the first product."""
LAYERS = np.dtype(
    [
        ("norm", np.intp),
        ("eps", np.float32),
        ("is_post", np.bool_),
        ("tiles", np.intp),
        ("n_tiles", np.intp),
        ("steps", np.intp),
        ("columns", np.intp),
        ("least", np.float32),
        ("last_tiles", np.intp),
        ("n_last_tiles", np.intp),
        ("last_steps", np.intp),
        ("last_columns", np.intp),
        ("act", np.intp),
        ("n_heads", np.intp),
        ("n_groups", np.intp),
        ("is_cross", np.bool_),
    ],
    align=True,
)
"""Sublayers: a `Layer` each, its arrays by address, and how many heads of queries and of keys."""
PASTS = np.dtype([("keys", np.intp), ("values", np.intp), ("slots", np.intp), ("length", np.intp)])
"""What they attend to: keys and values `b g slots d` by their addresses; zeros for no attention."""


class Product(NamedTuple):
    """A linear layer: max(x W^T + b, least)."""

    tiles: Array
    """W, `t k/4 WIDTH 4`."""
    columns: Array
    """What each column needs, `3 t WIDTH`: the sum of its weights, their scale, its bias."""
    least: np.float32


def tiled(weight: Array) -> Array:
    """Weights `out in` (int8) as tiles `t k/4 WIDTH 4`; what is missing of the last is 0."""
    n, k = weight.shape
    assert k <= LONGEST
    whole = np.zeros((-(-n // WIDTH) * WIDTH, -(-k // 4) * 4), np.int8)
    whole[:n, :k] = weight
    tiles = whole.reshape(-1, WIDTH, whole.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    # where memory begins with a line, no register is loaded from two
    room = np.empty(tiles.size + LINE, np.int8)
    begin = -room.ctypes.data % LINE
    aligned = room[begin : begin + tiles.size].reshape(tiles.shape)
    aligned[:] = tiles
    return aligned


class Layer(NamedTuple):
    """Two products and a LayerNorm."""

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
    act: int


def line_of(
    layer: Layer, n_heads: int = 0, n_groups: int = 0, *, is_cross: bool = False
) -> tuple[Any, ...]:
    """A line of LAYERS."""
    tiles, columns, last_tiles, last_columns = (
        array.ctypes.data
        for array in (layer.tiles, layer.columns, layer.last_tiles, layer.last_columns)
    )
    first, last = (tiles, *layer.tiles.shape[:2]), (last_tiles, *layer.last_tiles.shape[:2])
    norm = layer.norm.ctypes.data, layer.eps, layer.is_post
    products = *first, columns, layer.least, *last, last_columns
    return (*norm, *products, layer.act, n_heads, n_groups, is_cross)


HYPOTHESES = np.dtype(
    [("length", np.intp), ("logprob", np.float64), ("score", np.float64), ("ended", np.bool_)],
    align=True,
)
"""Tokens without an end, what they are worth, and whether there was an end."""


def _record(words: str, **others: Any) -> Any:
    """Addresses and whole numbers under these names, and others."""
    whole = [(name, np.intp) for name in words.split()]
    return np.dtype([*whole, *others.items()], align=True)


WORDS = _record("table scales positions n_tokens n_positions", by=np.float64)
STACK = _record("table n norm has_norm", eps=np.float64)
HEAD = _record("tiles n_tiles steps columns n_tokens")
NETWORK = _record(
    "m memory n_memory", source=WORDS, target=WORDS, encoder=STACK, decoder=STACK, head=HEAD
)
TEXTS = _record("ids n_ids starts limits n at_once")
OPTIONS = _record("width start end never n_never penalty longest", enough=np.float64)
FOUND = _record("ids best n_found n_best")
SHARED = _record("next stop broken done n_threads")
TOLD = _record(
    "n_places", network=NETWORK, texts=TEXTS, options=OPTIONS, found=FOUND, shared=SHARED
)
"""What a search is told: addresses of the arrays of `loops/ragged.py` and `loops/search.py`, with
their sizes, and numbers."""
