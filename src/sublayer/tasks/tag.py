"""One label for each word: words in, words with their tags out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from sublayer.config.objective import TagObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row
from sublayer.data.example import Example, Tagged
from sublayer.generation.batches import batches
from sublayer.metrics import make
from sublayer.objectives.labels import UNTOLD, TagLabels
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
from sublayer.tasks.passages import wrap
from sublayer.tasks.texts import (
    Learned,
    as_classifier,
    batch_of,
    done_with,
    learn_tokenizer,
    logits_of,
)
from sublayer.tasks.vocabulary import Vocabulary, sorted_labels
from sublayer.text.tokenizer import Tokenizer, Tokenizers

LONGEST = 512
"""Tokens of a sentence where neither model nor recipe say."""


def pieces_of(
    words: Sequence[str], tokenizer: Tokenizer, longest: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Stretches of a sentence of at most `longest` tokens: ids, and places of words' first pieces.

    A word whose pieces are none is given an unknown one, so that it has a tag; one that is longer
    than a stretch is cut. Of words in letters places are counted in words.
    """
    room = longest - len(wrap([], None, tokenizer))
    begin, spells = len(tokenizer.opening), tokenizer.spelling is not None
    ids: list[int] = []
    firsts: list[int] = []
    for pieces in tokenizer.encode_words(words):
        word = (pieces or [tokenizer.special.unk])[:room]
        if len(ids) + len(word) > room:
            yield wrap(ids, None, tokenizer), firsts
            ids, firsts = [], []
        firsts.append(begin + (len(firsts) if spells else len(ids)))
        ids += word
    if ids:
        yield wrap(ids, None, tokenizer), firsts


@final
class Tags(Predictor):
    """A trained tagger; an input is words with spaces between."""

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        *,
        longest: int = LONGEST,
        batch_tokens: int = 4096,
    ) -> None:
        super().__init__(network, vocabulary)
        self.batch_tokens = batch_tokens
        bound = as_classifier(network, "tag words").max_length
        self.longest = longest if bound is None else min(longest, bound)

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """Words with their tags, one a line in columns (CoNLL), an empty line after a sentence.

        Raises:
            ValueError: more than one answer is asked for.
        """
        if n != 1:
            raise ValueError(f"a tagger has one answer to an input, not {n}")
        sentences = [text.split() for text in inputs]
        tagged = self.tag(sentences, progress)
        return [[self._result(words, told)] for words, told in zip(sentences, tagged, strict=True)]

    def tag(
        self, sentences: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> list[list[tuple[str, float]]]:
        """The tag of each word and its probability; a long sentence is gone through in parts."""
        network = as_classifier(self.worker, "tag words")
        parts = [
            (number, ids, firsts)
            for number, words in enumerate(sentences)
            for ids, firsts in pieces_of(words, self.vocabulary.text, self.longest)
        ]
        left = Counter(number for number, _, _ in parts)
        if progress is not None:
            progress(len(sentences) - len(left))  # those without words
        told: list[Tensor] = [torch.empty(0)] * len(parts)
        for rows in batches([len(ids) for _, ids, _ in parts], self.batch_tokens):
            batch = batch_of([parts[i][1] for i in rows], torch.empty(0), self.vocabulary.text)
            for i, logits in zip(rows, logits_of(network, batch), strict=True):
                told[i] = logits[parts[i][2]].softmax(-1)  # words c
            if progress is not None:
                progress(done_with(left, (parts[i][0] for i in rows)))
        out: list[list[tuple[str, float]]] = [[] for _ in sentences]
        for (number, _, _), shares in zip(parts, told, strict=True):
            p, best = shares.max(-1)
            labels = (self.vocabulary.labels[i] for i in best.tolist())
            out[number] += zip(labels, p.tolist(), strict=True)
        return out

    def _result(self, words: list[str], told: list[tuple[str, float]]) -> Result:
        lines = "".join(f"{word}\t{tag}\n" for word, (tag, _) in zip(words, told, strict=True))
        fields = {
            "words": words,
            "tags": [tag for tag, _ in told],
            "probabilities": [share for _, share in told],
        }
        return Result(lines, fields)


@TASKS.add("tag")
@final
class Tagger(Task):
    """Sentences of words, each with its tag."""

    numbers = ("loss", "nll", "accuracy")

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary from the words, and the tags."""
        tags: list[tuple[str, ...]] = []

        def texts() -> Iterator[Learned]:
            for example in examples:
                sentence = wanted(example, Tagged, recipe)
                tags.append(sentence.tags)
                yield Learned(" ".join(sentence.words))

        tokenizers = learn_tokenizer(recipe, texts(), given)
        return Vocabulary(tokenizers, sorted_labels(chain.from_iterable(tags)))

    @property
    def settings(self) -> TagObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, TagObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size, and what the model is to say."""
        return {
            "vocab_size": self.vocabulary.text.vocab_size,
            "head": "tag",
            "n_labels": len(self.vocabulary.labels),
        }

    def check(self, network: nn.Module) -> None:
        """A tagger with places for the longest sentence."""
        places = as_classifier(network, "tag words").max_length
        check_places(places, self.longest, "the data may have", "data.max_source")

    @property
    def longest(self) -> int:
        """Tokens of a row, special ones included."""
        return self.recipe.data.max_source

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A sentence a row, long ones in parts; at each first piece its tag's number and 1."""
        notes |= {"skipped_empty": 0}
        stream = iter(examples)
        while chunk := list(islice(stream, CHUNK)):
            for example in chunk:
                sentence = wanted(example, Tagged, self.recipe)
                tags = iter([self.vocabulary.number(tag) + 1 for tag in sentence.tags])
                notes["skipped_empty"] += not sentence.words
                for ids, firsts in pieces_of(sentence.words, self.vocabulary.text, self.longest):
                    labels = np.zeros(firsts[-1] + 1, np.uint32)
                    labels[firsts] = list(islice(tags, len(firsts)))
                    yield np.array(ids, np.uint32), labels

    @property
    def ids(self) -> int:
        """Pieces or tags."""
        return max(self.vocabulary.text.vocab_size, len(self.vocabulary.labels) + 1)

    def objective(self) -> TagLabels:
        """Cross-entropy at first pieces."""
        return TagLabels(self.settings.label_smoothing)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Padded sentences, and the tags of first pieces."""
        batch = batch_of([ids for ids, _ in rows], torch.empty(0), self.vocabulary.text)
        labels = torch.full(batch.inputs.shape[:2], UNTOLD)
        for row, (_, told) in enumerate(rows):
            labels[row, : len(told)] = torch.from_numpy(told.astype(np.int64)) - 1
        return Labelled(
            batch.inputs, batch.valid, None, labels, int((labels != UNTOLD).sum()), batch.read
        )

    def predictor(self, network: nn.Module, generation: Generation) -> Tags:
        """The model that tags words."""
        return Tags(
            network, self.vocabulary, longest=self.longest, batch_tokens=generation.batch_tokens
        )

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """Sentences, their tags as the model says and as they are."""
        assert isinstance(predictor, Tags)
        sentences: list[Tagged] = [wanted(example, Tagged, self.recipe) for example in examples]
        told = predictor.tag([sentence.words for sentence in sentences])
        return [
            Sample(" ".join(s.words), " ".join(tag for tag, _ in row), " ".join(s.tags))
            for s, row in zip(sentences, told, strict=True)
        ]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """The recipe's metrics over words or entities."""
        assert isinstance(predictor, Tags)
        sentences: list[Tagged] = [wanted(example, Tagged, self.recipe) for example in examples]
        sentences = [sentence for sentence in sentences if sentence.words]
        told = predictor.tag([sentence.words for sentence in sentences], progress)
        outputs = [" ".join(tag for tag, _ in row) for row in told]
        right = [(" ".join(sentence.tags),) for sentence in sentences]
        metrics = make(self.evaluation.metrics, self.evaluation)
        scores = {metric.name: metric.score(outputs, right) for metric in metrics}
        return Outcome(len(sentences), scores, outputs)
