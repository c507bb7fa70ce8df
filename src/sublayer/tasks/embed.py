"""Vectors of texts, near for what belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sublayer.config.objective import EmbedObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Pairs, Row, pad
from sublayer.data.example import Example
from sublayer.data.pair import Pair
from sublayer.generation.batches import batches
from sublayer.layers.place import device_of
from sublayer.metrics import mean_reciprocal_rank, recall_at
from sublayer.models.base import Encoder
from sublayer.objectives.contrast import Contrast, Pooling, pooled, taken
from sublayer.tasks.base import (
    CHUNK,
    TASKS,
    Examples,
    Notes,
    Outcome,
    Predictor,
    Progress,
    Result,
    Sample,
    Task,
    check_places,
    wanted,
)
from sublayer.tasks.masked import as_encoder
from sublayer.tasks.texts import learn_tokenizer, rows_of
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.tokenizer import Tokenizer, Tokenizers

LONGEST = 512
"""Tokens of a text where neither model nor recipe say."""


@final
class Vectors(Predictor):
    """A trained encoder that gives each text a vector, of length 1 if they are `normalized`."""

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        pooling: Pooling = "mean",
        *,
        longest: int = LONGEST,
        batch_tokens: int = 4096,
        normalized: bool = True,
    ) -> None:
        super().__init__(network, vocabulary)
        self.pooling, self.batch_tokens, self.normalized = pooling, batch_tokens, normalized
        bound = as_encoder(network, "embed a text").max_length
        self.longest = longest if bound is None else min(longest, bound)

    def __call__(self, inputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """The vector of each text, `m`."""
        return list(self.vectors(inputs))

    @torch.inference_mode()
    def vectors(
        self, inputs: Sequence[str], progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """All vectors, one a row."""
        if isinstance(inputs, str):
            raise ValueError("give a list of texts, not one text")
        network: Encoder = as_encoder(self.worker, "embed a text")
        device, rows = device_of(network), []
        for row in rows_of([(t, None) for t in inputs], self.vocabulary.text, self.longest):
            rows.append(row.ids)
            self.shortened += row.was_cut
        out: list[Tensor] = [torch.empty(0)] * len(rows)
        for numbers in batches([len(ids) for ids in rows], self.batch_tokens):
            batch = side_of([rows[i] for i in numbers], self.vocabulary.text).to(device)
            hidden = network.hidden(batch.inputs, batch.valid)
            make = pooled if self.normalized else taken
            found = make(hidden, batch.valid, self.pooling)
            for i, vector in zip(numbers, found.cpu(), strict=True):
                out[i] = vector
            if progress is not None:
                progress(len(numbers))
        return torch.stack(out).numpy() if out else np.empty((0, 0), np.float32)

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The numbers of each vector.

        Raises:
            ValueError: more than one answer is asked for.
        """
        if n != 1:
            raise ValueError(f"a text has one vector, not {n}")
        return [
            [Result(" ".join(f"{x:.6g}" for x in vector), {"vector": vector.tolist()})]
            for vector in self.vectors(inputs, progress)
        ]


def side_of(rows: Sequence[Any], tokenizer: Tokenizer) -> Labelled:
    """Padded texts without labels."""
    ids, valid = pad([np.asarray(row) for row in rows], tokenizer.special.pad)
    return Labelled(ids, valid, None, torch.empty(0), len(rows), sum(map(len, rows)))


@TASKS.add("embed")
@final
class Embed(Task):
    """Pairs of texts that belong together."""

    numbers = ("loss", "nll", "accuracy")
    takes_metrics = False

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary from both sides."""
        pairs = (wanted(example, Pair, recipe) for example in examples)
        return Vocabulary(learn_tokenizer(recipe, pairs, given))

    @property
    def settings(self) -> EmbedObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, EmbedObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size; there is no head, the stack's output is what is pooled."""
        return {"vocab_size": self.ids, "head": "none", "pooler": False}

    def check(self, network: nn.Module) -> None:
        """An encoder with places for the longest text."""
        places = as_encoder(network, "embed a text").max_length
        keys = "data.max_source and data.max_target"
        check_places(places, self.longest, "the data may have", keys)

    @property
    def longest(self) -> int:
        """Tokens of a row, special ones included."""
        return max(self.recipe.data.max_source, self.recipe.data.max_target)

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """Both texts of each pair, cut to their limit; pairs with an empty side are left out."""
        notes |= {"skipped_empty": 0, "cut": 0}
        pairs = (wanted(example, Pair, self.recipe) for example in examples)
        texts = ((pair.source, target) for pair in pairs for target in pair.targets)
        while chunk := list(islice(texts, CHUNK)):
            full = [(a, b) for a, b in chunk if a.strip() and b.strip()]
            notes["skipped_empty"] += len(chunk) - len(full)
            sides = [
                rows_of([(pair[side], None) for pair in full], self.vocabulary.text, self.longest)
                for side in (0, 1)
            ]
            for a, b in zip(*sides, strict=True):
                notes["cut"] += a.was_cut or b.was_cut
                yield np.array(a.ids, np.uint32), np.array(b.ids, np.uint32)

    @property
    def ids(self) -> int:
        """The vocabulary's size."""
        return self.vocabulary.text.vocab_size

    def objective(self) -> Contrast:
        """InfoNCE."""
        return Contrast(self.settings.temperature, self.settings.pooling)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Pairs:
        """Padded texts, and which pairs are alike."""
        keys = [[row[side].tobytes() for row in rows] for side in (0, 1)]
        alike = np.zeros((len(rows), len(rows)), bool)
        for side in keys:
            alike |= np.array([[a == b for b in side] for a in side])
        np.fill_diagonal(alike, False)
        tokenizer = self.vocabulary.text
        source, target = (side_of([row[side] for row in rows], tokenizer) for side in (0, 1))
        return Pairs(source, target, torch.from_numpy(alike))

    def predictor(self, network: nn.Module, generation: Generation) -> Vectors:
        """The model that gives vectors."""
        return Vectors(
            network,
            self.vocabulary,
            self.settings.pooling,
            longest=self.longest,
            batch_tokens=generation.batch_tokens,
        )

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """For each source the nearest target of those shown."""
        assert isinstance(predictor, Vectors)
        pairs: list[Pair] = [wanted(example, Pair, self.recipe) for example in examples]
        targets = [pair.targets[0] for pair in pairs]
        near = predictor.vectors([p.source for p in pairs]) @ predictor.vectors(targets).T
        return [
            Sample(pair.source, targets[int(best)], pair.targets[0])
            for pair, best in zip(pairs, near.argmax(1), strict=True)
        ]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """How far up a source's target stands among all targets, by cosine."""
        assert isinstance(predictor, Vectors)
        pairs: list[Pair] = [wanted(example, Pair, self.recipe) for example in examples]
        known = list(dict.fromkeys(target for pair in pairs for target in pair.targets))
        place = {target: i for i, target in enumerate(known)}
        targets = predictor.vectors(known)
        ranks, outputs = [], []
        sources = predictor.vectors([pair.source for pair in pairs], progress)
        for pair, vector in zip(pairs, sources, strict=True):
            near = targets @ vector
            best = max(near[place[target]] for target in pair.targets)
            ranks.append(1 + int((near > best).sum()))
            outputs.append(known[int(near.argmax())])
        scores = {
            "recall_at_1": recall_at(ranks, 1),
            "recall_at_10": recall_at(ranks, 10),
            "mrr": mean_reciprocal_rank(ranks),
        }
        outputs = [" ".join(output.split()) for output in outputs]
        return Outcome(len(pairs), scores, outputs, setting=f"among {len(known):,} targets")
