"""The tensors of a plan as loops want them: numbers in tiles, tables of addresses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from sublayer.config.plan import ActName, Norm, Plan, Stack, Sublayer, Words
from sublayer.loops.tables import (
    ACTS,
    LAYERS,
    NETWORK,
    NO_ACT,
    WIDTH,
    Array,
    Layer,
    Product,
    line_of,
    tiled,
)


class Shape(NamedTuple):
    """Of a linear layer."""

    outputs: int
    inputs: int


@final
class PlannedWeights:
    """What the network of a plan multiplies by, which must outlive all that is told of it.

    Raises:
        ValueError: a tensor is missing, left over, of another shape than the plan needs, or of one
            that loops do not multiply by.
    """

    def __init__(self, plan: Plan, tensors: Mapping[str, Array]) -> None:
        self.plan, self.tensors = plan, tensors
        self._held: list[Any] = []  # arrays of which only the addresses are told
        self._used: set[str] = set()
        if len(tensors) != plan.n_tensors:
            raise ValueError(f"there are {len(tensors)} tensors, but {plan.n_tensors} in the plan")
        self.width = self._tensor(f"{plan.source.table}.weight").shape[-1]
        head, shape = self._product([plan.head])
        memory = [self._memory(s) for s in plan.decoder.sublayers if s.memory]
        self._check(shape.inputs == self.width, plan.head)
        self._check(bool(memory), "decoder")
        self._told = told = np.zeros((), NETWORK)
        told["m"], told["memory"] = self.width, self._address(np.array(memory, LAYERS))
        told["n_memory"] = len(memory)
        told["source"], told["target"] = self._words(plan.source), self._words(plan.target)
        told["encoder"] = self._stack(plan.encoder, sees_memory=False)
        told["decoder"] = self._stack(plan.decoder, sees_memory=True)
        tiles, columns = self._address(head.tiles), self._address(head.columns)
        told["head"] = (tiles, *head.tiles.shape[:2], columns, shape.outputs)
        self.n_source, self.n_target = int(told["source"]["n_tokens"]), shape.outputs
        self._check(int(told["target"]["n_tokens"]) >= shape.outputs, plan.target.table)
        self.told(1, 1)
        for name in sorted(tensors.keys() - self._used):
            raise ValueError(f"'{name}' is no part of the plan")

    def told(self, n_source: int, n_target: int) -> tuple[Array, list[Array]]:
        """NETWORK, for sources and outputs of at most so many tokens, and what it needs to be kept.

        Raises:
            ValueError: it has no places for so many.
        """
        told = self._told.copy()
        positions = [
            self._positions(words, n)
            for words, n in ((self.plan.source, n_source), (self.plan.target, n_target))
        ]
        for side, table in zip(("source", "target"), positions, strict=True):
            told[side]["positions"], told[side]["n_positions"] = table.ctypes.data, len(table)
        return told, positions

    def _positions(self, words: Words, n: int) -> Array:
        if words.positions is None:
            return sinusoids(n, self.width, halves=words.halves)
        table = self._tensor(f"{words.positions}.weight")[words.skipped :]
        self._check(table.shape[1:] == (self.width,), words.positions)
        if n > len(table):
            raise ValueError(
                f"{n} positions, but the model learned {len(table)}; "
                "shorten the text or train with a larger max_length"
            )
        return np.ascontiguousarray(table, np.float32)

    def _address(self, array: Array) -> int:
        self._held.append(array)
        return int(array.ctypes.data)

    def _tensor(self, name: str) -> Array:
        self._used.add(name)
        try:
            return self.tensors[name]
        except KeyError:
            raise ValueError(f"there is no tensor '{name}'") from None

    @staticmethod
    def _check(fits: bool, name: str) -> None:
        if not fits:
            raise ValueError(f"'{name}' is not of a shape that fits")

    def _words(self, words: Words) -> tuple[Any, ...]:
        table, scales = map(np.ascontiguousarray, self._numbers(words.table))
        self._check(table.shape[1] == self.width, words.table)
        return self._address(table), self._address(scales), 0, len(table), 0, words.scale

    def _numbers(self, name: str) -> tuple[Array, Array]:
        """Weights `out in` in eight bits, and a scale for each row."""
        weight, scale = self._tensor(f"{name}.weight"), self._tensor(f"{name}.scale")
        self._check(weight.dtype == np.int8 and weight.ndim == 2, name)
        self._check(scale.dtype == np.float32 and scale.shape == weight.shape[:1], name)
        return weight, scale

    def _product(self, names: Sequence[str], act: ActName = "none") -> tuple[Product, Shape]:
        """Layers that read the same, as one."""
        parts = [self._numbers(name) for name in names]
        self._check(len({weight.shape[1] for weight, _ in parts}) == 1, names[0])
        weight = np.concatenate([weight for weight, _ in parts])
        tiles, n = tiled(weight), len(weight)
        columns = np.zeros((3, len(tiles) * WIDTH), np.float32)
        columns[0, :n] = weight.sum(1, dtype=np.int32)
        columns[1, :n] = np.concatenate([scale for _, scale in parts])
        if f"{names[0]}.bias" in self.tensors:
            bias = np.concatenate([self._tensor(f"{name}.bias") for name in names])
            self._check(bias.shape == (n,), names[0])
            columns[2, :n] = bias
        least = np.float32(0 if act == "relu" else -np.inf)
        return Product(tiles, columns.reshape(3, -1, WIDTH), least), Shape(*weight.shape)

    def _norm(self, norm: Norm) -> Array:
        both = [self._tensor(f"{norm.name}.{part}") for part in ("weight", "bias")]
        self._check(all(part.shape == (self.width,) for part in both), norm.name)
        return np.stack(both).astype(np.float32)

    def _stack(self, stack: Stack, *, sees_memory: bool) -> tuple[Any, ...]:
        lines = [self._line(sublayer) for sublayer in stack.sublayers]
        own = {self._heads(s) for s in stack.sublayers if s.n_heads and not s.memory}
        others = {self._heads(s) for s in stack.sublayers if s.memory}
        self._check(len(own) == 1 and len(others) == sees_memory, stack.sublayers[0].last)
        norm = np.zeros((2, self.width), np.float32) if not stack.norm else self._norm(stack.norm)
        eps = stack.norm.eps if stack.norm else 0.0
        table = np.array(lines, LAYERS)
        return self._address(table), len(table), self._address(norm), stack.norm is not None, eps

    def _heads(self, sublayer: Sublayer) -> tuple[int, int]:
        """Heads of keys, and the width of one."""
        self._check(sublayer.n_heads > 0 and sublayer.n_groups > 0, sublayer.last)
        inputs = self._numbers(sublayer.last)[0].shape[1]
        return sublayer.n_groups, inputs // sublayer.n_heads

    def _line(self, sublayer: Sublayer) -> tuple[Any, ...]:
        first, shape = self._product(sublayer.first, sublayer.act)
        last, last_shape = self._product([sublayer.last])
        h, g, name = sublayer.n_heads, sublayer.n_groups, sublayer.first[0]
        inner = shape.outputs
        if h:
            self._check(g > 0 and h % g == 0 and last_shape.inputs % h == 0, sublayer.last)
            d = last_shape.inputs // h
            self._check(inner == (h if sublayer.memory else h + 2 * g) * d, name)
            inner = h * d
        self._check(shape.inputs == last_shape.outputs == self.width, name)
        self._check(last_shape.inputs == inner, sublayer.last)
        self._check(shape.outputs % WIDTH == 0 and inner % 4 == 0 and self.width % 4 == 0, name)
        norm, eps = self._norm(sublayer.norm), np.float32(sublayer.norm.eps)
        products = *first, last.tiles, last.columns
        layer = Layer(norm, eps, sublayer.is_post, *products, ACTS[sublayer.act])
        self._held.append(layer)
        return line_of(layer, h, g, is_cross=bool(sublayer.memory))

    def _memory(self, sublayer: Sublayer) -> tuple[Any, ...]:
        """A line whose first product makes keys and values of what is attended to."""
        both, shape = self._product(sublayer.memory)
        g, d = self._heads(sublayer)
        self._check(shape == (2 * g * d, self.width), sublayer.memory[0])
        self._check(shape.outputs % WIDTH == 0, sublayer.memory[0])
        # the norm and the second product are never asked for
        norm = np.zeros((2, self.width), np.float32)
        layer = Layer(norm, np.float32(0), True, *both, both.tiles, both.columns, NO_ACT)
        self._held.append(layer)
        return line_of(layer, sublayer.n_heads, g, is_cross=True)


def can_be_followed(plan: Plan, tensors: Mapping[str, Array]) -> bool:
    """Whether loops multiply by what the plan names."""
    try:
        PlannedWeights(plan, tensors)
    except ValueError:
        return False
    return True


def sinusoids(n: int, width: int, *, halves: bool) -> Array:
    """The table `n m` of Vaswani et al. 2017, section 3.5, as `layers/position.py` makes it."""
    where = np.arange(n, dtype=np.float64)[:, None]
    angles = where * np.exp(np.arange(0, width, 2) * (-math.log(10_000.0) / width))
    table = np.empty((n, width), np.float32)
    half = width // 2
    table[:, slice(half) if halves else slice(0, None, 2)] = np.sin(angles)
    table[:, slice(half, None) if halves else slice(1, None, 2)] = np.cos(angles)
    return table
