"""Vectors of words from the words around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sublayer.config.objective import WordsObjective
from sublayer.data.batch import Row
from sublayer.data.order import WindowOrder
from sublayer.data.store import Store
from sublayer.data.windows import Windows, grouped, keep_probability, noise_distribution
from sublayer.layers.tree import HierarchicalSoftmax
from sublayer.models.vectors import WordPredictor
from sublayer.objectives.words import Cbow, SkipGram
from sublayer.tasks.base import TASKS, Examples, Notes
from sublayer.tasks.word_vectors import WordTask

LENGTH = 1_000
"""Words of a stretch of text; batches are made of such."""
NOISE = 32
"""Words drawn for each group of places."""


@TASKS.add("words")
@final
class Words(WordTask):
    """Documents laid end to end, each word with those around it."""

    @property
    def settings(self) -> WordsObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, WordsObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size, and how words are told."""
        return {"vocab_size": self.ids, "output": self.settings.output}

    def check(self, network: nn.Module) -> None:
        """A network that tells words from vectors."""
        _as_word_predictor(network)

    def begin(self, network: nn.Module) -> None:
        """The tree that the words' counts make."""
        output = _as_word_predictor(network).output
        if isinstance(output, HierarchicalSoftmax):
            output.plant(self.vocabulary.counts)

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """The known words of a document a row, with an end."""
        end, nothing = self.vocabulary.text.special.eos, np.empty(0, np.uint32)
        for texts in self.texts(examples, notes):
            for ids in texts:
                yield np.array([*ids, end], np.uint32), nothing

    def objective(self) -> SkipGram | Cbow:
        """The loss of the recipe's method."""
        kind = SkipGram if self.settings.method == "skipgram" else Cbow
        return kind(self.settings.negatives)

    def order(self, store: Store) -> WindowOrder:
        """Stretches of the documents laid end to end, cut at another place in every epoch."""
        return WindowOrder(store, LENGTH, self.recipe.training.batch_tokens, self.recipe.seed)

    def in_order(self, store: Store) -> Iterator[list[Row]]:
        """All stretches once."""
        order = self.order(store)
        return map(order.rows, order.in_order())

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Windows:
        """Places of the rows in groups, frequent words left out at random, and noise."""
        ids = np.concatenate([row[0] for row in rows]).astype(np.int64)
        ends = np.concatenate([_begins(len(row[0])) for row in rows])
        is_end = ids == self.vocabulary.text.special.eos
        texts = np.cumsum(is_end | ends)
        read = len(ids) - int(is_end.sum())
        kept = (random.random(len(ids)) < self._keep[ids]) & ~is_end
        ids, texts = ids[kept], texts[kept]
        window = self.settings.window
        widths = random.integers(1, window + 1, len(ids))
        centres, around, near = grouped(ids, texts, widths, window)
        drawn = random.random((len(centres), self._drawn))
        noise = np.searchsorted(self._noise, drawn, side="right")
        is_skipgram = self.settings.method == "skipgram"
        tokens = int((near if is_skipgram else near.any(-1)).sum())
        return Windows(centres, around, near, torch.from_numpy(noise), max(tokens, 1), read)

    @property
    def _drawn(self) -> int:
        return NOISE if self.settings.output == "negative" else 0

    @cached_property
    def _keep(self) -> NDArray[np.float64]:
        return keep_probability(self.vocabulary.counts, self.settings.sample)

    @cached_property
    def _noise(self) -> NDArray[np.float64]:
        """Up to which number each word is drawn; the last one that can be takes the rest."""
        upto = np.cumsum(noise_distribution(self.vocabulary.counts))
        upto[upto >= upto[-1]] = 1.0
        return upto


def _begins(length: int) -> NDArray[np.bool_]:
    """A row is a text of its own."""
    begins = np.zeros(length, bool)
    begins[:1] = True
    return begins


def _as_word_predictor(network: nn.Module) -> WordPredictor:
    if not isinstance(network, WordPredictor):
        raise ValueError(
            f"{type(network).__name__} has no word vectors that tell others; "
            "use the family word2vec"
        )
    return network
