"""Words told from both sides, each side by itself, and their vectors in a text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sublayer.config.objective import BidirectionalObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row
from sublayer.data.example import Document, Example
from sublayer.generation.batches import batches
from sublayer.layers.place import device_of
from sublayer.metrics import Score
from sublayer.models.bidirectional import BidirectionalModel
from sublayer.objectives.bidirectional import Bidirectional
from sublayer.tasks.base import (
    TASKS,
    Examples,
    Notes,
    Outcome,
    Predictor,
    Progress,
    Result,
    Sample,
    Task,
    wanted,
)
from sublayer.tasks.measure import batches_of, mean_loss
from sublayer.tasks.passages import sentences
from sublayer.tasks.texts import Learned, done_with, inputs_of
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.tokenizer import Tokenizers

SHOWN = 20
"""Words of a document that a sample shows."""


def as_bidirectional(network: nn.Module) -> BidirectionalModel:
    """The network, if it tells words from both sides.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(network, BidirectionalModel):
        raise ValueError(
            f"{type(network).__name__} is no language model of both directions; use the family elmo"
        )
    return network


def row_of(words: Sequence[str], tokenizers: Tokenizers) -> Row:
    """The letters of a passage, and the ids of its words, both with begin and end."""
    letters, told = tokenizers.source, tokenizers.target
    ids = [id for word in letters.encode_words(words) for id in word]
    known = [word[0] if len(word) == 1 else told.special.unk for word in told.encode_words(words)]
    framed = letters.frame(ids)[0], [told.special.bos, *known, told.special.eos]
    return np.array(framed[0], np.uint32), np.array(framed[1], np.uint32)


def batch_of_words(rows: Sequence[Row], tokenizers: Tokenizers) -> Labelled:
    """Padded words in letters, and their ids; each direction tells all but one of a row."""
    inputs, valid = inputs_of([letters for letters, _ in rows], tokenizers.source)
    labels = torch.full(inputs.shape[:2], tokenizers.target.special.pad)
    for row, (_, ids) in enumerate(rows):
        labels[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
    read = sum(len(ids) for _, ids in rows)
    return Labelled(inputs, valid, None, labels, read - len(rows), read)


@final
@dataclass(frozen=True)
class Reading:
    """What a model makes of the words of a text: vectors, `n m`, and natural logarithms, `n`.

    `forward` and `backward` say how likely a word is behind those before it, and before those
    behind it.
    """

    vectors: NDArray[np.float32]
    forward: list[float]
    backward: list[float]


@final
class Readings(Predictor):
    """A trained language model of both directions, of passages of at most `longest` words.

    The vector of a word is the mean of its layers (Peters et al. 2018, eq. 1, all weights alike).
    """

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        *,
        longest: int = 64,
        batch_tokens: int = 4096,
    ) -> None:
        super().__init__(network, vocabulary)
        self.longest, self.batch_tokens = longest, batch_tokens

    @property
    def tokenizers(self) -> Tokenizers:
        """Of letters, and of words that can be told."""
        assert self.vocabulary.tokenizers is not None, "it reads text"
        return self.vocabulary.tokenizers

    def __call__(self, inputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """The vectors of the words of each text, `n m`."""
        if isinstance(inputs, str):
            raise ValueError("give a list of texts, not one text")
        return [reading.vectors for reading in self.read([text.split() for text in inputs])]

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """A word and its vector a line; how likely each is from either side is in the fields.

        Raises:
            ValueError: more than one answer is asked for.
        """
        if n != 1:
            raise ValueError(f"a text has one reading, not {n}")
        texts = [text.split() for text in inputs]
        found = zip(texts, self.read(texts, progress), strict=True)
        return [[self._result(words, reading)] for words, reading in found]

    def _result(self, words: list[str], reading: Reading) -> Result:
        rows = zip(words, reading.vectors, strict=True)
        lines = [f"{word} {' '.join(f'{x:.6g}' for x in vector)}" for word, vector in rows]
        fields = {
            "words": words,
            "logprob": (sum(reading.forward) + sum(reading.backward)) / 2,
            "forward": reading.forward,
            "backward": reading.backward,
            "vectors": reading.vectors.tolist(),
        }
        return Result("\n".join(lines), fields)

    @torch.inference_mode()
    def read(
        self, texts: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> list[Reading]:
        """Each text, a long one in parts."""
        parts = [
            (number, words[begin : begin + self.longest])
            for number, words in enumerate(texts)
            for begin in range(0, len(words), self.longest)
        ]
        left = Counter(number for number, _ in parts)
        if progress is not None:
            progress(len(texts) - len(left))  # those without words
        rows = [row_of(words, self.tokenizers) for _, words in parts]
        out: list[Reading | None] = [None] * len(parts)
        for numbers in batches([len(letters) for letters, _ in rows], self.batch_tokens):
            found = self._batch([rows[i] for i in numbers])
            for i, reading in zip(numbers, found, strict=True):
                out[i] = reading
            if progress is not None:
                progress(done_with(left, (parts[i][0] for i in numbers)))
        width = 2 * as_bidirectional(self.network).head.in_features
        joined = [Reading(np.empty((0, width), np.float32), [], []) for _ in texts]
        for (number, _), part in zip(parts, out, strict=True):
            assert part is not None, "every part is read"
            so_far = joined[number]
            joined[number] = Reading(
                np.concatenate([so_far.vectors, part.vectors]),
                so_far.forward + part.forward,
                so_far.backward + part.backward,
            )
        return joined

    def _batch(self, rows: Sequence[Row]) -> Iterator[Reading]:
        model = as_bidirectional(self.worker)
        batch = batch_of_words(rows, self.tokenizers).to(device_of(self.network))
        hidden = model.hidden(batch.inputs, batch.valid)
        vectors = model.layers(hidden).float().mean(2).cpu().numpy()
        directions = model.directions(hidden)
        for row, (_, ids) in enumerate(rows):
            last, own = len(ids) - 1, batch.labels[row, 1 : len(ids) - 1]
            ahead, behind = (h[row : row + 1] for h in directions)
            forward = logs_of(model.head, ahead[0, : last - 1], own)
            backward = logs_of(model.head, behind[0, 2 : last + 1], own)
            yield Reading(vectors[row, 1:last], forward, backward)


def logs_of(head: nn.Module, hidden: Tensor, ids: Tensor) -> list[float]:
    """The natural logarithms of the probabilities of words, `n`, that `hidden` (`n m`) tells."""
    logp = head(hidden).float().log_softmax(-1)
    return logp.gather(1, ids.unsqueeze(1)).squeeze(1).tolist()


@TASKS.add("bidirectional")
@final
class BidirectionalLanguage(Task):
    """Documents in passages of whole sentences; each word is told from either side."""

    numbers = ("loss", "nll", "perplexity", "forward_perplexity", "backward_perplexity")
    takes_metrics = False

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """Letters to read, and words to tell, from the documents."""
        texts = (wanted(example, Document, recipe).text for example in examples)
        documents = (Learned(text, (text,)) for text in texts)
        if given is None:
            assert recipe.tokenizer is not None
            given = Tokenizers.train(recipe.tokenizer, documents)
        if given.source.spelling is None or given.shared or given.target.spelling is not None:
            raise ValueError(
                "the objective 'bidirectional' reads letters and tells words: use "
                "[tokenizer.source] with kind = 'letters' and [tokenizer.target] with "
                "kind = 'words'"
            )
        return Vocabulary(given)

    @property
    def settings(self) -> BidirectionalObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, BidirectionalObjective)
        return self.recipe.objective

    @property
    def tokenizers(self) -> Tokenizers:
        """Of letters, and of words."""
        assert self.vocabulary.tokenizers is not None, "it reads text"
        return self.vocabulary.tokenizers

    def keys(self) -> dict[str, Any]:
        """How many words and letters there are."""
        sizes = (self.tokenizers.target.vocab_size, self.tokenizers.source.vocab_size)
        return {"vocab_size": sizes[0], "source_vocab_size": sizes[1]}

    def check(self, network: nn.Module) -> None:
        """A language model of both directions."""
        as_bidirectional(network)

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A passage a row: its letters and the ids of its words; unknown words are counted."""
        notes |= {"unknown": 0, "skipped_empty": 0}
        unknown = self.tokenizers.target.special.unk
        for example in examples:
            text = wanted(example, Document, self.recipe).text
            notes["skipped_empty"] += not text.strip()
            for words in passages_of_words(text, self.settings.length):
                row = row_of(words, self.tokenizers)
                notes["unknown"] += int((row[1] == unknown).sum())
                yield row

    @property
    def ids(self) -> int:
        """Letters or words."""
        return max(self.tokenizers.source.vocab_size, self.tokenizers.target.vocab_size)

    def objective(self) -> Bidirectional:
        """Cross-entropy of both directions."""
        return Bidirectional()

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Words in letters, and their ids."""
        return batch_of_words(rows, self.tokenizers)

    def fields(self, means: Mapping[str, float], meta: Mapping[str, Any]) -> dict[str, float]:
        """The means, the perplexity of either direction and the mean of the two."""
        either = {
            f"{side}_perplexity": math.exp(min(means[f"{side}_nll"], 700.0))
            for side in ("forward", "backward")
        }
        return {**means, "perplexity": sum(either.values()) / 2, **either}

    def predictor(self, network: nn.Module, generation: Generation) -> Readings:
        """The model that reads words."""
        return Readings(
            network,
            self.vocabulary,
            longest=self.settings.length,
            batch_tokens=generation.batch_tokens,
        )

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """The beginnings of documents, and how likely their words are."""
        assert isinstance(predictor, Readings)
        texts = [wanted(example, Document, self.recipe).text for example in examples]
        shown = [text.split()[:SHOWN] for text in texts]
        found = []
        for words, reading in zip(shown, predictor.read(shown), strict=True):
            sides = zip(words, reading.forward, reading.backward, strict=True)
            told = " ".join(f"{word}:{math.exp(max(a, b)):.2f}" for word, a, b in sides)
            found.append(Sample(" ".join(words), told, ""))
        return found

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """Perplexity of either direction and their mean, and the share of unknown words."""
        notes: Notes = {}
        rows = list(self.encode(examples, notes))
        means = mean_loss(predictor.network, self.objective(), batches_of(self, rows))
        progress(len(examples))
        words = sum(len(ids) - 2 for _, ids in rows)
        found = self.fields(means, notes) | {"unknown": notes["unknown"] / words}
        signature = f"tok:run|vocab:{self.tokenizers.target.vocab_size}|unknown:one word"
        scores = {
            name: Score(value, f"{name}|{signature}")
            for name, value in found.items()
            if name != "loss"
        }
        return Outcome(len(examples), scores, [], setting=f"{len(rows)} passages")


def passages_of_words(text: str, length: int) -> Iterator[list[str]]:
    """Words of passages of at most `length`, of whole sentences where they fit."""
    words: list[str] = []
    for sentence in sentences(text):
        own = sentence.split()
        for begin in range(0, len(own), length):
            part = own[begin : begin + length]
            if words and len(words) + len(part) > length:
                yield words
                words = []
            words = words + part
    if words:
        yield words
