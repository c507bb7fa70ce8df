"""Vectors of words from how often they stand together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.objective import GloveObjective
from sublayer.data.batch import Row
from sublayer.data.cooccurrence import Cooccurrences, Counted, shuffled
from sublayer.models.vectors import CountPredictor
from sublayer.objectives.glove import Glove
from sublayer.tasks.base import TASKS, Examples, Notes
from sublayer.tasks.word_vectors import WordTask

BLOCK = 256
"""Entries of a row, so that a row costs little beside what is in it."""


@TASKS.add("glove")
@final
class GloveTask(WordTask):
    """Documents, of which only counts are kept: a row is a block of entries in random order."""

    unit = "count"
    told = "entries"

    @property
    def settings(self) -> GloveObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, GloveObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size."""
        return {"vocab_size": self.words}

    def check(self, network: nn.Module) -> None:
        """A network that tells counts."""
        if not isinstance(network, CountPredictor):
            raise ValueError(
                f"{type(network).__name__} has no word vectors that tell counts; "
                "use the family glove"
            )

    @property
    def ids(self) -> int:
        """Bits of counts are any number of 32 bits."""
        return 2**32

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """Words and words around them, one behind the other; their counts, as bits of float32.

        Counts are those of a text as long as training's, so that losses on shorter ones compare.
        """
        settings, words = self.settings, 0
        memory, random = settings.memory * 2**20, np.random.default_rng(self.recipe.seed)
        with TemporaryDirectory(prefix="counts-") as name:
            counts = Cooccurrences(
                self.words, settings.window, memory, Path(name), symmetric=settings.symmetric
            )
            for texts in self.texts(examples, notes):
                words += sum(map(len, texts))
                counts.add(texts)
            scale = sum(self.vocabulary.counts) / max(words, 1)
            for entries in shuffled(counts.entries(), BLOCK, memory, Path(name), random):
                places = np.concatenate([entries.words, entries.around]).astype(np.uint32)
                yield places, (entries.counts * scale).astype(np.float32).view(np.uint32)

    def objective(self) -> Glove:
        """Weighted least squares."""
        return Glove(self.settings.x_max, self.settings.alpha)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Counted:
        """All entries of the rows."""
        places = [np.split(row[0].astype(np.int64), 2) for row in rows]
        words, around = (np.concatenate([place[i] for place in places]) for i in (0, 1))
        counts = np.concatenate([row[1].astype(np.uint32).view(np.float32) for row in rows])
        return Counted(*map(torch.from_numpy, (words, around, counts)))
