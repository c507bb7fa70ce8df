"""What a run will cost, before its first step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import nn
from torch.nn.utils import clip_grad_norm_

from sublayer.config.schema import Recipe
from sublayer.data.example import Example
from sublayer.data.order import Indices, Order
from sublayer.data.pair import Pair
from sublayer.data.source import read
from sublayer.layers.place import device_of
from sublayer.models.base import EncoderDecoder, LanguageModel
from sublayer.scaling.count import Count
from sublayer.scaling.field import receptive_field
from sublayer.scaling.memory import DecodingMemory, TrainingMemory, decoding_memory, training_memory
from sublayer.tasks import Task
from sublayer.training.begin import Begin
from sublayer.training.cost import Cost
from sublayer.training.optimizers import make_optimizer
from sublayer.training.precision import autocast, pick_device, product_type, uses_bfloat16
from sublayer.training.prepare import make_task, model_config, tokenize
from sublayer.training.run import set_threads

SAMPLE = 20_000
"""Examples at the head of the training data that vocabularies and lengths are estimated from."""
STEPS = 5


@dataclass(frozen=True)
class Estimate:
    """The cost of a run; lengths are means over a sample, ends included."""

    unit: str
    """What speed is counted in."""
    examples: int
    read: float
    """Of these units in an epoch."""
    source_tokens: float
    """0 for vectors of words, which know no examples apart."""
    target_tokens: float
    """0 where there is no second part to a model."""
    count: Count
    training: TrainingMemory
    decoding: DecodingMemory | None
    receptive_field: int | None
    """Tokens that the next one follows from, at most; None: as many as there are."""
    tokens_per_second: float
    """Of the unit, measured in a few steps on this machine."""
    epochs: float
    minutes: float

    def as_json(self) -> dict[str, Any]:
        """Numbers under the names that the table shows."""
        return {
            "unit": self.unit,
            "examples": self.examples,
            "read_per_epoch": self.read,
            "source_tokens_per_example": self.source_tokens,
            "target_tokens_per_example": self.target_tokens,
            "parameters": self.count.parameters,
            "parts": [asdict(part) for part in self.count.parts],
            "forward_flops_per_token": self.count.forward,
            "training_flops_per_token": self.count.training,
            "training_memory_bytes": asdict(self.training) | {"total": self.training.total},
            "decoding_memory_bytes": None if self.decoding is None else asdict(self.decoding),
            "receptive_field": self.receptive_field,
            "tokens_per_second": self.tokens_per_second,
            "epochs": self.epochs,
            "minutes": self.minutes,
        }


def estimate(recipe: Recipe) -> Estimate:
    """Count, plan and time what a recipe says, on a sample of its data.

    Raises:
        ValueError: the recipe does not fit its data, or the data is not there or wrong.
    """
    t = recipe.training
    set_threads(t.threads)
    examples, sample = _head(read(recipe.data, "train"))
    begin = None if recipe.model.start is None else Begin.read(recipe.model.start)
    task = make_task(recipe, sample, begin)
    config, device = model_config(recipe, task, begin), pick_device(t.device)
    network = config.build()
    task.check(network)
    with TemporaryDirectory() as folder:
        order = task.order(tokenize(task, sample, Path(folder, "train")))
        numbers = list(order.epoch(0))
        random = np.random.default_rng(recipe.seed)
        batches = [task.collate(order.rows(one), random) for one in numbers]
        by_size = sorted(range(len(batches)), key=lambda i: batches[i].read)
        spread = [by_size[i * (len(batches) - 1) // STEPS] for i in range(STEPS + 1)]
        rate = _rate(network.to(device), task, order, [numbers[i] for i in spread])
    read_in_sample = sum(batch.read for batch in batches)
    cost = Cost.of(config.build, batches)
    read_in_epoch = read_in_sample / len(sample) * examples
    epoch_minutes = read_in_epoch / rate / 60
    bounds = (
        t.epochs and t.epochs * epoch_minutes,
        t.minutes,
        t.steps and t.steps * t.accumulate * read_in_sample / len(batches) / rate / 60,
    )
    minutes = min(bound for bound in bounds if bound is not None)
    source, target = (0.0, 0.0) if task.has_words else (*cost.lengths, 0.0)[:2]
    return Estimate(
        task.unit,
        examples,
        read_in_epoch,
        source,
        target,
        cost.count,
        training_memory(config.build, *cost.largest, bfloat16=uses_bfloat16(t.precision, device)),
        decoding_memory(network) if isinstance(network, EncoderDecoder | LanguageModel) else None,
        receptive_field(network) if isinstance(network, LanguageModel) else None,
        rate,
        minutes / epoch_minutes,
        minutes,
    )


def _head(stream: Iterator[Example]) -> tuple[int, list[Example]]:
    """How many training examples there are, one for each target of a pair; the first of them."""
    sample = list(islice(stream, SAMPLE))
    whole = chain(sample, stream)
    return sum(len(e.targets) if isinstance(e, Pair) else 1 for e in whole), sample


def _rate(network: nn.Module, task: Task, order: Order, batches: Sequence[Indices]) -> float:
    """What is read a second: the median of training steps, batches being made in that time.

    The first step is not timed.
    """
    t, random = task.recipe.training, np.random.default_rng(task.recipe.seed)
    device = device_of(network)
    products = product_type(t.precision, device)
    objective, optimizer = task.objective(), make_optimizer(network.train(), t.optimizer, products)
    context = autocast(t.precision, device)

    def speed(numbers: Indices) -> float:
        start = time.perf_counter()
        batch = task.training_batch(order.rows(numbers), random)
        optimizer.zero_grad(set_to_none=True)
        with context:
            loss = objective(network, batch.to(device))
        (loss.total / loss.tokens).backward()
        clip_grad_norm_(network.parameters(), t.clip or math.inf, foreach=True)
        optimizer.step()
        loss.total.item()  # waits for a GPU
        return batch.read / (time.perf_counter() - start)

    return median([speed(numbers) for numbers in batches][1:])
