"""What tasks on vectors of words share: vocabulary with counts, answers and measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import final

import numpy as np
import torch
from torch import nn

from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Row, Step
from sublayer.data.example import Document, Example
from sublayer.layers.place import device_of
from sublayer.metrics import Score
from sublayer.tasks.base import (
    CHUNK,
    Examples,
    Notes,
    Outcome,
    Predictor,
    Progress,
    Sample,
    Task,
    wanted,
)
from sublayer.tasks.neighbours import Neighbours
from sublayer.tasks.texts import Learned, learn_tokenizer
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.tokenizer import Tokenizer, Tokenizers

SHOWN = 100
"""The most frequent words, which say little by themselves, are no samples."""


class WordTask(Task):
    """Abstract. Documents, whose words are given vectors."""

    numbers = ("loss", "nll")
    takes_metrics = False
    has_words = True
    unit = "word"

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary of words, and how often each stands in the documents."""
        return learn_words(recipe, examples, given)

    @property
    def ids(self) -> int:
        """The vocabulary's size."""
        return self.vocabulary.text.vocab_size

    def texts(self, examples: Examples, notes: Notes) -> Iterator[list[list[int]]]:
        """The known words of documents, some documents at a time; the others are counted."""
        notes |= {"unknown": 0, "skipped_empty": 0}
        tokenizer, documents = self.vocabulary.text, iter(examples)
        while chunk := [wanted(e, Document, self.recipe).text for e in islice(documents, CHUNK)]:
            found = []
            for ids in tokenizer.encode_batch(" ".join(text.split()) for text in chunk):
                known = [id for id in ids if id != tokenizer.special.unk]
                notes["unknown"] += len(ids) - len(known)
                notes["skipped_empty"] += not known
                found.append(known)
            yield [known for known in found if known]

    @final
    def predictor(self, network: nn.Module, generation: Generation) -> Neighbours:
        """The model that knows what is near."""
        return Neighbours(network, self.vocabulary)

    @final
    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """The neighbours of a word of each document that is not among the most frequent."""
        found = []
        for example in examples:
            words = dict.fromkeys(wanted(example, Document, self.recipe).text.split())
            ids = {word: self.vocabulary.text.encode(word) for word in words}
            rare = (word for word, own in ids.items() if len(own) == 1 and own[0] >= SHOWN)
            if (word := next(rare, None)) is not None:
                (near,) = predictor.results([word], 3)
                found.append(Sample(word, ", ".join(result.text for result in near), ""))
        return found

    @final
    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """The loss on documents, if there are any, and what files say of the vectors."""
        assert isinstance(predictor, Neighbours)
        scores, told = dict[str, Score](), "by files alone"
        if examples:
            nll, tokens = self._nll(predictor.network, examples)
            scores["nll"] = Score(nll, f"nll|nats|tok:run|vocab:{self.words}")
            told = f"over {tokens:,} {self.told}"
        progress(len(examples))
        return Outcome(len(examples), scores | predictor.scores(self.evaluation), [], setting=told)

    def _nll(self, network: nn.Module, examples: Sequence[Example]) -> tuple[float, int]:
        """The mean of the loss on documents, and over how many pairs or entries."""
        if not self.vocabulary.counts:
            raise ValueError(
                "vectors of a file come without counts of their words, so they are not measured on "
                "text; give evaluation.similarity or evaluation.analogies alone"
            )
        total, tokens, objective = 0.0, 0, self.objective()
        device = device_of(network)
        with torch.inference_mode():
            for batch in self.batches(self.encode(examples, {})):
                loss = objective(network, batch.to(device))
                total, tokens = total + float(loss.parts["nll"]), tokens + loss.tokens
        if not tokens:
            raise ValueError("nothing of the data is left: it has no two known words together")
        return total / tokens, tokens

    def batches(self, rows: Iterator[Row]) -> Iterator[Step]:
        """Rows in order, about as many words together as in training; draws are always the same."""
        bound, number = self.recipe.training.batch_tokens, 0
        held: list[Row] = []
        for row in rows:
            held.append(row)
            if sum(len(ids) for ids, _ in held) >= bound:
                yield self.collate(held, np.random.default_rng([self.recipe.seed, number]))
                held, number = [], number + 1
        if held:
            yield self.collate(held, np.random.default_rng([self.recipe.seed, number]))

    @property
    def words(self) -> int:
        """The vocabulary's size."""
        return self.vocabulary.text.vocab_size

    told = "pairs"
    """What the loss is a mean over."""


def learn_words(recipe: Recipe, examples: Examples, given: Tokenizers | None) -> Vocabulary:
    """A vocabulary of words, with how often each id stands in the examples.

    Raises:
        ValueError: the recipe asks for two, or for other pieces than words.
    """
    side = None if recipe.tokenizer is None else recipe.tokenizer.shared
    if given is None and side is not None and side.kind != "words":
        raise ValueError(
            f"the objective '{recipe.objective.kind}' gives vectors to words: set "
            f"tokenizer.shared.kind = 'words', not '{side.kind}'"
        )
    counted: Counter[str] = Counter()

    def texts() -> Iterator[Learned]:
        for example in examples:
            text = wanted(example, Document, recipe).text
            counted.update(text.split())
            yield Learned(text)

    tokenizers = learn_tokenizer(recipe, texts(), given)
    return Vocabulary(tokenizers, counts=_counts(tokenizers.source, counted))


def _counts(tokenizer: Tokenizer, words: Counter[str]) -> tuple[int, ...]:
    """How often each id stands where these words do; the unknown one never."""
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for ids, n in zip(tokenizer.encode_batch(words), words.values(), strict=True):
        np.add.at(counts, ids, n)
    counts[tokenizer.special.unk] = 0
    return tuple(counts.tolist())
