"""How good the model is on the validation data, while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.schema import Recipe
from sublayer.data.batch import Batch, collate
from sublayer.data.order import cut
from sublayer.data.source import Pair, read
from sublayer.data.store import Store
from sublayer.generation.predict import Predictor
from sublayer.metrics import METRICS, make
from sublayer.models.base import EncoderDecoder
from sublayer.objectives.base import Objective
from sublayer.text.special import Special
from sublayer.text.tokenizer import Tokenizers
from sublayer.training.callbacks import Sample
from sublayer.training.run import search_options


def in_order(store: Store, batch_tokens: int, tokenizers: Tokenizers) -> Iterator[Batch]:
    """All pairs of a store, by length."""
    indices = np.arange(len(store))
    for rows in cut(indices, store.lengths(indices) + 1, batch_tokens):
        yield collate(store.rows(rows), tokenizers.source.special, tokenizers.target.special)


@torch.no_grad()
def mean_loss(
    network: nn.Module, objective: Objective, batches: Iterator[Batch], autocast: torch.autocast
) -> tuple[float, float]:
    """The objective and the negative log-likelihood, both per target token, without dropout."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    total = nll = 0.0
    tokens = 0
    with autocast:
        for batch in batches:
            loss = objective(network, batch.to(device))
            total, nll = total + float(loss.total), nll + float(loss.parts["nll"])
            tokens += loss.tokens
    network.train(was_training)
    return total / tokens, nll / tokens


@final
@dataclass(frozen=True)
class Validator:
    """Validation loss, the metric that chooses the best checkpoint, and samples.

    `best` of "loss" and "perplexity" needs no decoding; another metric decodes the validation texts
    greedily.
    """

    store: Store | None
    pairs: list[Pair]
    recipe: Recipe
    tokenizers: Tokenizers

    @classmethod
    def make(cls, store: Store | None, recipe: Recipe, tokenizers: Tokenizers) -> Validator:
        """With the texts it needs; without validation data it measures nothing.

        Raises:
            ValueError: `training.best` is no metric.
        """
        t = recipe.training
        decodes = t.best not in {"loss", "perplexity"}
        if decodes:
            METRICS[t.best]
        pairs = (
            []
            if store is None
            else list(islice(read(recipe.data, "valid"), None if decodes else t.samples))
        )
        return cls(store, pairs, recipe, tokenizers)

    @property
    def specials(self) -> tuple[Special, Special]:
        """Special ids of the source and of the target side."""
        return self.tokenizers.source.special, self.tokenizers.target.special

    @property
    def higher_is_better(self) -> bool:
        """Which way `best` points."""
        best = self.recipe.training.best
        return best in METRICS and make([best], self.recipe.evaluation)[0].higher_is_better

    def measure(
        self, network: EncoderDecoder, objective: Objective, autocast: torch.autocast
    ) -> tuple[dict[str, Any], list[Sample]]:
        """Record fields and samples; the fields are empty without validation data."""
        if self.store is None:
            return {}, []
        t = self.recipe.training
        loss, nll = mean_loss(
            network, objective, in_order(self.store, t.batch_tokens, self.tokenizers), autocast
        )
        fields: dict[str, Any] = {"loss": loss, "nll": nll, "perplexity": math.exp(min(nll, 700.0))}
        outputs = self._decode(network, autocast)
        if t.best in METRICS:
            metric = make([t.best], self.recipe.evaluation)[0]
            score = metric.score(outputs, [pair.targets for pair in self.pairs])
            fields["metrics"] = {t.best: score.value}
        shown = zip(self.pairs[: t.samples], outputs, strict=False)
        return fields, [Sample(pair.source, output, pair.targets[0]) for pair, output in shown]

    def _decode(self, network: EncoderDecoder, autocast: torch.autocast) -> list[str]:
        was_training = network.training
        options = search_options(self.recipe, beam=1)
        predictor = Predictor(
            network, self.tokenizers, options, max_source=self.recipe.data.max_source
        )
        with autocast:
            outputs = predictor([pair.source for pair in self.pairs])
        network.train(was_training)
        return outputs
