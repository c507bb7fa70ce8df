"""Text that goes on: language models over documents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.objective import CausalObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row
from sublayer.data.example import Document, Example
from sublayer.data.order import WindowOrder
from sublayer.data.store import Store
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.language import Continuation, Continuer
from sublayer.layers.place import device_of
from sublayer.metrics import Score
from sublayer.models.base import LanguageModel
from sublayer.objectives.causal import Causal
from sublayer.surgery.pack import ready
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
from sublayer.tasks.texts import Learned, learn_tokenizer
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.tasks.writing import write_options
from sublayer.text.tokenizer import Tokenizers

NEW = 200
"""Tokens of a continuation where the recipe says nothing."""
SHOWN = 60
"""Characters of a document that a sample begins with."""


@final
class TextGoesOn(Predictor):
    """A trained language model: `continuer` writes what follows."""

    def __init__(self, network: nn.Module, vocabulary: Vocabulary, generation: Generation) -> None:
        super().__init__(network, vocabulary)
        self.continuer = Continuer(
            as_language_model(network),
            vocabulary.text,
            write_options(generation, vocabulary.text, NEW),
            batch_tokens=generation.batch_tokens,
        )

    def hasten(self, inputs: int = 1) -> None:
        """Answer by the kernels that are fastest for so many; `network` stays as it is."""
        self.worker = ready(self.network, inputs=inputs)
        self.continuer.network = as_language_model(self.worker)

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` best continuations, each with its log-probability."""

        def told(prompt: str, c: Continuation) -> Result:
            fields = {"text": c.text, "score": c.score, "logprob": c.logprob, "ended": c.ended}
            return Result(prompt + c.text, fields)

        found = self.continuer.n_best(inputs, n, progress, first=self.first)
        return [[told(prompt, c) for c in row] for prompt, row in zip(inputs, found, strict=True)]

    def stream(self, text: str) -> Iterator[str]:
        """The prompt, then what follows as it is written; whole where a beam is searched."""
        options = self.continuer.options
        if isinstance(options, SearchOptions) and options.beam > 1:
            yield from super().stream(text)
        else:
            yield text
            yield from self.continuer.stream(text)


def as_language_model(network: nn.Module) -> LanguageModel:
    """The network, if it is one that reads text from left to right.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(network, LanguageModel):
        raise ValueError(
            f"{type(network).__name__} is no language model, so it cannot go on with a text; "
            "use a family such as gpt or llama"
        )
    return network


@TASKS.add("causal")
@final
class Language(Task):
    """Documents laid end to end, windows of them, each token from those before it."""

    writes = True
    numbers = ("loss", "nll", "perplexity", "bits_per_token", "bits_per_byte")
    takes_metrics = False

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary, from the documents."""
        return learn_text(recipe, examples, given)

    @property
    def settings(self) -> CausalObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, CausalObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size."""
        return {"vocab_size": self.vocabulary.text.vocab_size}

    def check(self, network: nn.Module) -> None:
        """A language model with places for a window."""
        places = as_language_model(network).max_length
        check_places(places, self.settings.length, "objective.length is", "objective.length")

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A document a row, with begin and end; its bytes are counted for `bits_per_byte`."""
        notes |= {"bytes": 0, "skipped_empty": 0}
        special, nothing = self.vocabulary.text.special, np.empty(0, np.uint32)
        documents = iter(examples)
        while chunk := list(islice(documents, CHUNK)):
            texts = [wanted(example, Document, self.recipe).text for example in chunk]
            full = [text for text in texts if text.strip()]
            notes["skipped_empty"] += len(texts) - len(full)
            notes["bytes"] += sum(len(text.encode()) for text in full)
            for ids in self.vocabulary.text.encode_batch(full):
                yield np.array([special.bos, *ids, special.eos], np.uint32), nothing

    @property
    def ids(self) -> int:
        """The vocabulary's size."""
        return self.vocabulary.text.vocab_size

    def objective(self) -> Causal:
        """Cross-entropy of the next token."""
        return Causal(self.settings.label_smoothing)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Windows and the same one token on."""
        ids = torch.from_numpy(np.stack([row for row, _ in rows]).astype(np.int64))
        inputs, labels = ids[:, :-1], ids[:, 1:]
        return Labelled(inputs, None, None, labels, labels.numel(), labels.numel())

    def order(self, store: Store) -> WindowOrder:
        """Windows, at another place in every epoch."""
        t = self.recipe.training
        return WindowOrder(store, self.settings.length, t.batch_tokens, self.recipe.seed)

    def in_order(self, store: Store) -> Iterator[list[Row]]:
        """The text window by window, so every token but the first is told once."""
        order = self.order(store)
        for indices in order.in_order():
            yield order.rows(indices)

    def fields(self, means: Mapping[str, float], meta: Mapping[str, Any]) -> dict[str, float]:
        """The means, perplexity of a token, and bits for a token and for a byte of text."""
        of_token = means["nll"] / math.log(2)
        of_byte = of_token * (meta["source_tokens"] - 1) / meta["bytes"]
        bits = {"bits_per_token": of_token, "bits_per_byte": of_byte}
        return {**super().fields(means, meta), **bits}

    def predictor(self, network: nn.Module, generation: Generation) -> TextGoesOn:
        """Search or sampling with the recipe's options."""
        return TextGoesOn(network, self.vocabulary, generation)

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """How the model goes on from beginnings of documents."""
        assert isinstance(predictor, TextGoesOn)
        texts = [wanted(example, Document, self.recipe).text for example in examples]
        heads = [self._head(text) for text in texts]
        outputs = predictor.continuer(heads)
        return [
            Sample(head, output, text[len(head) :][: 2 * len(output)])
            for head, output, text in zip(heads, outputs, texts, strict=True)
        ]

    def _head(self, text: str) -> str:
        """So much of a text that at least half of a window is left to go on in."""
        head = text[:SHOWN]
        while head and 2 * len(self.vocabulary.text.encode(head)) > self.settings.length:
            head = head[: len(head) // 2]
        return head

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """Perplexity and bits of a token, bits for a byte; every document from its beginning on.

        Windows are those of training; what is further back than a window's start is not seen.
        """
        assert isinstance(predictor, TextGoesOn)
        notes: Notes = {}
        network, device = (
            as_language_model(predictor.network),
            device_of(predictor.network),
        )
        objective, nll, tokens = Causal(), 0.0, 0
        length, random = self.settings.length, np.random.default_rng(0)
        with torch.inference_mode():
            for windows in self._windows(self.encode(examples, notes)):
                loss = objective(network, self.collate(windows, random).to(device))
                nll, tokens = nll + float(loss.total), tokens + loss.tokens
        if not tokens:
            raise ValueError("nothing of the data is left: there is no text in it")
        progress(len(examples))
        tokenizer = f"tok:run|vocab:{self.ids}|window:{length}"
        perplexity = math.exp(min(nll / tokens, 700.0))
        scores = {
            "bits_per_byte": Score(
                nll / math.log(2) / notes["bytes"], f"bits_per_byte|{tokenizer}"
            ),
            "bits_per_token": Score(nll / math.log(2) / tokens, f"bits_per_token|{tokenizer}"),
            "perplexity": Score(perplexity, f"perplexity|{tokenizer}"),
            "nll": Score(nll / tokens, f"nll|nats|{tokenizer}"),
        }
        return Outcome(len(examples), scores, [], setting=f"windows of {length} tokens")

    def _windows(self, documents: Iterator[Row]) -> Iterator[list[Row]]:
        """Batches of windows of one length, from every document's beginning to its end."""
        length, nothing = self.settings.length, np.empty(0, np.uint32)
        windows: list[Row] = [
            (ids[begin : begin + length + 1], nothing)
            for ids, _ in documents
            for begin in range(0, len(ids) - 1, length)
        ]
        windows.sort(key=lambda window: len(window[0]))
        for tokens, alike in groupby(windows, key=lambda window: len(window[0]) - 1):
            while batch := list(islice(alike, max(1, self.recipe.training.batch_tokens // tokens))):
                yield batch


def learn_text(
    recipe: Recipe, examples: Examples, given: Tokenizers | None, extra: Sequence[str] = ()
) -> Vocabulary:
    """The one vocabulary of a task on documents.

    Raises:
        ValueError: the recipe asks for two, or the data holds no documents.
    """
    documents = (Learned(wanted(example, Document, recipe).text) for example in examples)
    return Vocabulary(learn_tokenizer(recipe, documents, given, extra))


def most_frequent(counts: Counter[int]) -> tuple[float, float]:
    """Entropy in nats, and the share of the most frequent, of what has been counted."""
    total = counts.total()
    shares = [count / total for count in counts.values()]
    return -sum(share * math.log(share) for share in shares), max(shares)
