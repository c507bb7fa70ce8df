"""What a step costs, from a sample of batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from sublayer.data.batch import Batch, Pairs, Step
from sublayer.scaling.count import Count, Shape, count, tokens_of


@dataclass(frozen=True)
class Cost:
    """The cost of batches like those of a sample; lengths are means, ends included."""

    lengths: tuple[float, ...]
    """Of each input of the network in tokens; 1 for an image."""
    count: Count
    """Of an example of these lengths."""
    read: float
    """Tokens, or images, that go through the model in a batch."""
    largest: list[Shape]
    """The inputs of the largest batch."""

    @classmethod
    def of(cls, build: Callable[[], nn.Module], batches: Sequence[Step]) -> Cost:
        """The cost of the network that `build` makes."""
        shapes = [_shapes(batch) for batch in batches]
        typical = [_one(inputs) for inputs in shapes]
        lengths = np.array([[tokens_of(one) for one in row] for row in typical])
        mean = lengths.mean(0).round().astype(int).tolist()
        inputs = mean if isinstance(typical[0][0], int) else _typical(typical)
        return cls(
            tuple(lengths.mean(0).tolist()),
            count(build, *inputs),
            float(np.mean([batch.read for batch in batches])),
            max(shapes, key=lambda inputs: sum(int(np.prod(shape)) for shape in inputs)),
        )


def _shapes(batch: Any) -> list[Shape]:
    """Of what the network is called with; pairs of texts that it reads apart are rows of texts."""
    if isinstance(batch, Batch):
        return [tuple(batch.source.shape), tuple(batch.target_in.shape)]
    if isinstance(batch, Pairs):
        longest = max(batch.source.inputs.shape[1], batch.target.inputs.shape[1])
        return [(2 * batch.tokens, longest)]
    return [tuple(batch.inputs.shape)]


def _typical(inputs: list[list[int | Shape]]) -> list[int | Shape]:
    """Words and letters are those of a mean batch; all images are alike."""
    shapes = np.array(inputs).mean(0).round().astype(int).tolist()
    return [tuple(shape) for shape in shapes]


def _one(inputs: list[Shape]) -> list[int | Shape]:
    """One example's: its numbers of tokens, or the shape of words in letters or of an image."""
    return [shape[1] if len(shape) == 2 else shape[1:] for shape in inputs]
