"""The loss of a model over many batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from sublayer.data.batch import Row, Step
from sublayer.data.order import cut
from sublayer.layers.place import device_of
from sublayer.objectives.base import Objective
from sublayer.tasks.base import Task


@torch.no_grad()
def mean_loss(
    network: nn.Module, objective: Objective, batches: Iterable[Step]
) -> dict[str, float]:
    """The loss and its parts, each per what it is a sum over, without dropout."""
    device = device_of(network)
    was_training = network.training
    network.eval()
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        loss = objective(network, batch.to(device))
        for name, part in {"loss": loss.total, **loss.parts}.items():
            sums[name] = sums.get(name, 0.0) + float(part)
            counts[name] = counts.get(name, 0) + loss.counts.get(name, loss.tokens)
    network.train(was_training)
    return {name: value / max(counts[name], 1) for name, value in sums.items()}


def batches_of(task: Task, rows: Sequence[Row]) -> Iterator[Step]:
    """Rows of like length together; random choices are the same each time.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("nothing of the data is left: its texts are empty or too short")
    lengths = np.array([(len(source) + 1, len(target) + 1) for source, target in rows])
    bound = task.recipe.training.batch_tokens
    for number, batch in enumerate(cut(np.arange(len(rows)), lengths, bound)):
        random = np.random.default_rng([task.recipe.seed, number])
        yield task.collate([rows[i] for i in batch], random)
