"""One label, several, or a number for a text or two texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from sublayer.config.objective import ClassifyObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row
from sublayer.data.example import Example
from sublayer.data.pair import Pair
from sublayer.generation.batches import batches
from sublayer.metrics import confusion, make
from sublayer.objectives.base import Objective
from sublayer.objectives.labels import Number, OneLabel, SeveralLabels
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
from sublayer.tasks.texts import (
    Learned,
    as_classifier,
    batch_of,
    labelled,
    learn_tokenizer,
    logits_of,
    rows_of,
    split_input,
)
from sublayer.tasks.vocabulary import Vocabulary, sorted_labels
from sublayer.text.tokenizer import Tokenizers

Targets = Literal["one", "several", "number"]

LONGEST = 512
"""Tokens of a text where neither model nor recipe say."""


@final
class Labels(Predictor):
    """A trained classifier of texts; an input is a text, or two with a tab between.

    `targets` says what its numbers are: of one label among all, of each label by itself, or a
    number as it is.
    """

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        targets: Targets = "one",
        *,
        longest: int = LONGEST,
        batch_tokens: int = 4096,
    ) -> None:
        super().__init__(network, vocabulary)
        self.targets, self.batch_tokens = targets, batch_tokens
        bound = as_classifier(network, "label a text").max_length
        self.longest = longest if bound is None else min(longest, bound)

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` likeliest labels with their probabilities; all that apply; or the number."""
        network = as_classifier(self.worker, "label a text")
        cut = rows_of([split_input(text) for text in inputs], self.vocabulary.text, self.longest)
        rows, turns = [], []
        for row in cut:
            rows.append(row.ids)
            turns.append(row.turn)
            self.shortened += row.was_cut
        out: list[list[Result]] = [[] for _ in inputs]
        for numbers in batches([len(ids) for ids in rows], self.batch_tokens):
            batch = batch_of(
                [rows[i] for i in numbers],
                torch.empty(0),
                self.vocabulary.text,
                [turns[i] for i in numbers],
            )
            for i, logits in zip(numbers, logits_of(network, batch), strict=True):
                out[i] = self._answers(logits, n)
            if progress is not None:
                progress(len(numbers))
        return out

    def _answers(self, logits: Tensor, n: int) -> list[Result]:
        if self.targets == "number":
            value = float(logits[0])
            return [Result(f"{value:.4f}", {"value": value})]
        if self.targets == "several":
            ranked = labelled(self.vocabulary, logits.sigmoid().tolist(), len(logits))
            kept = [label for label, share in ranked if share > 0.5]
            return [Result("\t".join(kept), {"labels": kept, "probabilities": dict(ranked)})]
        return [
            Result(label, {"probability": share, "label": label})
            for label, share in labelled(self.vocabulary, logits.softmax(-1).tolist(), n)
        ]


@TASKS.add("classify")
@final
class Classify(Task):
    """Texts with labels."""

    numbers: tuple[str, ...] = ("loss", "nll", "accuracy")

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary) -> None:
        super().__init__(recipe, vocabulary)
        if self.settings.targets != "one":
            self.numbers = ("loss", "nll")

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary from the texts, and the labels."""
        labels: list[str] = []

        def texts() -> Iterator[Learned]:
            for example in examples:
                pair = wanted(example, Pair, recipe)
                labels.extend(pair.targets)
                yield Learned(pair.source, () if pair.second is None else (pair.second,))

        tokenizers = learn_tokenizer(recipe, texts(), given)
        assert isinstance(recipe.objective, ClassifyObjective)
        is_number = recipe.objective.targets == "number"
        return Vocabulary(tokenizers, ("value",) if is_number else sorted_labels(labels))

    @property
    def settings(self) -> ClassifyObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, ClassifyObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size, and what the model is to say."""
        return {
            "vocab_size": self.vocabulary.text.vocab_size,
            "head": "classify",
            "n_labels": len(self.vocabulary.labels),
        }

    def check(self, network: nn.Module) -> None:
        """A classifier with places for the longest text."""
        places = as_classifier(network, "label a text").max_length
        check_places(places, self.longest, "the data may have", "data.max_source")

    @property
    def longest(self) -> int:
        """Tokens of a row, special ones included."""
        return self.recipe.data.max_source

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A text a row, cut to its limit; where a second begins, and the labels.

        Labels are by number, a number is the bits of a float.
        """
        notes |= {"cut": 0}
        stream = iter(examples)
        while chunk := list(islice(stream, CHUNK)):
            pairs = [wanted(example, Pair, self.recipe) for example in chunk]
            texts = [(pair.source, pair.second) for pair in pairs]
            rows = rows_of(texts, self.vocabulary.text, self.longest)
            for pair, row in zip(pairs, rows, strict=True):
                notes["cut"] += row.was_cut
                told = np.array([row.turn, *self._labels(pair)], np.uint32)
                yield np.array(row.ids, np.uint32), told

    def _labels(self, pair: Pair) -> Any:
        if self.settings.targets == "number":
            return np.array([_number(pair.targets[0])], np.float32).view(np.uint32)
        if self.settings.targets == "one" and len(pair.targets) > 1:
            raise ValueError(
                f"'{pair.source[:60]}' has {len(pair.targets)} labels; "
                "set objective.targets = 'several', or give one"
            )
        return np.array([self.vocabulary.number(label) for label in pair.targets], np.uint32)

    @property
    def ids(self) -> int:
        """Pieces, places, labels, or the bits of a number."""
        if self.settings.targets == "number":
            return 2**32
        labels = len(self.vocabulary.labels)
        return max(self.vocabulary.text.vocab_size, self.longest + 1, labels)

    def objective(self) -> Objective:
        """By what the targets are."""
        if self.settings.targets == "number":
            return Number()
        if self.settings.targets == "several":
            return SeveralLabels()
        return OneLabel(self.settings.label_smoothing)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Padded texts and their labels."""
        turns = [int(beside[0]) for _, beside in rows]
        labels = [beside[1:] for _, beside in rows]
        if self.settings.targets == "number":
            bits = np.concatenate(labels).astype(np.uint32)
            told = torch.from_numpy(bits.view(np.float32).copy())
        elif self.settings.targets == "several":
            told = torch.zeros(len(rows), len(self.vocabulary.labels))
            for row, label in enumerate(labels):
                told[row, torch.from_numpy(label.astype(np.int64))] = 1.0
        else:
            told = torch.from_numpy(np.concatenate(labels).astype(np.int64))
        return batch_of([ids for ids, _ in rows], told, self.vocabulary.text, turns)

    def predictor(self, network: nn.Module, generation: Generation) -> Labels:
        """The model that labels texts."""
        return Labels(
            network,
            self.vocabulary,
            self.settings.targets,
            longest=self.longest,
            batch_tokens=generation.batch_tokens,
        )

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """Texts, what the model says of them, and what is right."""
        pairs: list[Pair] = [wanted(example, Pair, self.recipe) for example in examples]
        inputs = [as_input(pair) for pair in pairs]
        return [
            Sample(text, said, "\t".join(pair.targets))
            for text, said, pair in zip(inputs, predictor(inputs), pairs, strict=True)
        ]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """The recipe's metrics, and for one label what is taken for what."""
        pairs: list[Pair] = [wanted(example, Pair, self.recipe) for example in examples]
        found = predictor.results([as_input(pair) for pair in pairs], 1, progress)
        outputs, right = [row[0].text for row in found], [pair.targets for pair in pairs]
        scores = {
            m.name: m.score(outputs, right) for m in make(self.evaluation.metrics, self.evaluation)
        }
        mistaken = confusion(outputs, right) if self.settings.targets == "one" else {}
        return Outcome(len(pairs), scores, outputs, confusion=mistaken)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"'{text}' is no number; objective.targets = 'number' wants one for every text"
        )
    return value


def as_input(pair: Pair) -> str:
    """The text or the two texts of a pair on one line, as `predict` reads them."""
    texts = [pair.source] if pair.second is None else [pair.source, pair.second]
    return "\t".join(" ".join(text.split()) for text in texts)
