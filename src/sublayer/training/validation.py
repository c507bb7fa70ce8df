"""How good the model is on the validation data, while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.registry import nearest
from sublayer.data.batch import Step
from sublayer.data.example import Example
from sublayer.data.source import read
from sublayer.data.store import Store
from sublayer.metrics import METRICS, make
from sublayer.objectives.base import Objective
from sublayer.tasks.base import Sample, Task
from sublayer.tasks.measure import mean_loss

FRESH = 2**31
"""Beside the run's seed: random choices in validation batches are none of training's."""


@final
@dataclass(frozen=True)
class Validator:
    """Validation loss, the metric that chooses the best checkpoint, and samples.

    A `best` that is a metric is measured on what the model says of the validation examples, found
    greedily; any other is a number of the loss, such as "loss" or "perplexity".
    """

    task: Task
    store: Store | None
    examples: list[Example]

    @classmethod
    def make(cls, store: Store | None, task: Task) -> Validator:
        """With the examples it needs; without validation data it measures nothing.

        Raises:
            ValueError: `training.best` is neither a metric nor a number of this loss.
        """
        recipe, best = task.recipe, task.recipe.training.best
        known = [*task.numbers, *(METRICS if task.takes_metrics else ())]
        if best not in known:
            raise ValueError(f"training.best: unknown metric '{best}'; {nearest(best, known)}")
        decodes = best in METRICS and best not in task.numbers
        wanted = None if decodes else recipe.training.samples
        examples = [] if store is None else list(islice(read(recipe.data, "valid"), wanted))
        return cls(task, store, examples)

    @property
    def best(self) -> str:
        """What the best checkpoint is chosen by."""
        return self.task.recipe.training.best

    @property
    def decodes(self) -> bool:
        """Whether that is measured on what the model says, and not on its loss."""
        return self.best in METRICS and self.best not in self.task.numbers

    @property
    def higher_is_better(self) -> bool:
        """Which way `best` points."""
        if self.decodes:
            return make([self.best], self.task.evaluation)[0].higher_is_better
        return self.best.endswith("accuracy")

    def measure(
        self, network: nn.Module, objective: Objective, autocast: torch.autocast
    ) -> tuple[dict[str, Any], list[Sample]]:
        """Record fields and samples; the fields are empty without validation data."""
        if self.store is None:
            return {}, []
        with autocast:
            means = mean_loss(network, objective, self._batches(self.store))
        fields: dict[str, Any] = self.task.fields(means, self.store.meta)
        was_training = network.training
        greedy = self.task.recipe.generation.model_copy(
            update={"beam": 1, "groups": 1, "temperature": 0.0}
        )
        predictor = self.task.predictor(network, greedy)
        with autocast:
            if self.decodes:
                only = self.task.evaluation.model_copy(update={"metrics": [self.best]})
                recipe = self.task.recipe.model_copy(update={"evaluation": only})
                task = type(self.task)(recipe, self.task.vocabulary)
                outcome = task.score(predictor, self.examples, lambda rows: None)
                fields["metrics"] = {self.best: outcome.metrics[self.best].value}
            shown = self.examples[: self.task.recipe.training.samples]
            samples = self.task.samples(predictor, shown) if shown else []
        network.train(was_training)
        return fields, samples

    def _batches(self, store: Store) -> Iterator[Step]:
        for number, rows in enumerate(self.task.in_order(store)):
            yield self.task.collate(
                rows, np.random.default_rng([self.task.recipe.seed, FRESH, number])
            )
