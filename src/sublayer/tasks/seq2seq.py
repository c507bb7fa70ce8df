"""Text in, text out: translation, pronunciation, summaries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, final

import numpy as np
from torch import nn

from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Batch, Row, collate
from sublayer.data.example import Example
from sublayer.data.pair import Pair
from sublayer.generation.generate import Options
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.predict import Predictor as Writer
from sublayer.metrics import Score, by_length, make, quantile_edges
from sublayer.models.base import as_encoder_decoder
from sublayer.objectives.seq2seq import Seq2Seq
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
from sublayer.tasks.measure import batches_of, mean_loss
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.tasks.writing import write_options
from sublayer.text.tokenizer import Tokenizers


@final
class TextToText(Predictor):
    """A trained encoder-decoder: `writer` searches for the outputs."""

    def __init__(
        self, network: nn.Module, vocabulary: Vocabulary, generation: Generation, max_source: int
    ) -> None:
        super().__init__(network, vocabulary)
        assert vocabulary.tokenizers is not None
        self.writer = Writer(
            as_encoder_decoder(network),
            vocabulary.tokenizers,
            write_options(generation, vocabulary.tokenizers.target),
            batch_tokens=generation.batch_tokens,
            max_source=max_source,
        )

    def hasten(self, inputs: int = 1) -> None:
        """Answer by the kernels that are fastest for so many; `network` stays as it is."""
        self.worker = ready(self.network, inputs=inputs)
        self.writer.network = as_encoder_decoder(self.worker)

    @property
    def tokenizers(self) -> Tokenizers:
        """Of the two sides."""
        return self.writer.tokenizers

    @property
    def options(self) -> Options:
        """Of the search or the sampling."""
        return self.writer.options

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` best outputs, each with its score and log-probability."""
        found = self.writer.n_best(inputs, n, progress, first=self.first)
        self.shortened = self.writer.shortened
        return [
            [
                Result(
                    " ".join(p.text.splitlines()),
                    {"text": p.text, "score": p.score, "logprob": p.logprob},
                )
                for p in row
            ]
            for row in found
        ]

    def __call__(self, inputs: Sequence[str]) -> list[str]:
        """The best output of each text."""
        return self.writer(inputs)


@TASKS.add("seq2seq")
@final
class Seq2SeqTask(Task):
    """Pairs of texts, an encoder-decoder, teacher forcing."""

    unit = "target token"
    writes = True

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary or two, from both sides of the pairs."""
        if given is not None:
            return Vocabulary(given)
        assert recipe.tokenizer is not None
        pairs = (wanted(example, Pair, recipe) for example in examples)
        return Vocabulary(Tokenizers.train(recipe.tokenizer, pairs))

    @property
    def tokenizers(self) -> Tokenizers:
        """Of the two sides."""
        assert self.vocabulary.tokenizers is not None
        return self.vocabulary.tokenizers

    def keys(self) -> dict[str, Any]:
        """The sizes of the vocabularies."""
        both = self.tokenizers
        target = {"vocab_size": both.target.vocab_size}
        return target if both.shared else target | {"source_vocab_size": both.source.vocab_size}

    def check(self, network: nn.Module) -> None:
        """An encoder-decoder with places for the longest pairs."""
        data, places = self.recipe.data, as_encoder_decoder(network).max_length
        longest, keys = (
            max(data.max_source, data.max_target) + 1,
            "data.max_source and data.max_target",
        )
        check_places(places, longest, "with ends the data may have", keys)

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """One row for each target; pairs with an empty side, and too long ones, are left out."""
        notes |= {"skipped_empty": 0, "skipped_long": 0}
        pairs = (wanted(example, Pair, self.recipe) for example in examples)
        texts = ((pair.source, target) for pair in pairs for target in pair.targets)
        data = self.recipe.data
        while chunk := list(islice(texts, CHUNK)):
            full = [pair for pair in chunk if pair[0].strip() and pair[1].strip()]
            notes["skipped_empty"] += len(chunk) - len(full)
            sources = self.tokenizers.source.encode_batch(source for source, _ in full)
            targets = self.tokenizers.target.encode_batch(target for _, target in full)
            for source, target in zip(sources, targets, strict=True):
                if len(source) > data.max_source or len(target) > data.max_target:
                    notes["skipped_long"] += 1
                else:
                    yield np.array(source, np.uint32), np.array(target, np.uint32)

    @property
    def ids(self) -> int:
        """The larger vocabulary's size."""
        return max(self.tokenizers.source.vocab_size, self.tokenizers.target.vocab_size)

    def objective(self) -> Seq2Seq:
        """Smoothed cross-entropy, with R-Drop if the recipe says so."""
        o = self.recipe.objective
        assert o.kind == "seq2seq"
        return Seq2Seq(o.label_smoothing, o.r_drop)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Batch:
        """Padded, with begin and end."""
        return collate(rows, self.tokenizers.source.special, self.tokenizers.target.special)

    def predictor(self, network: nn.Module, generation: Generation) -> TextToText:
        """Search or sampling with the recipe's options."""
        return TextToText(network, self.vocabulary, generation, self.recipe.data.max_source)

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """Source, output and first target."""
        pairs: list[Pair] = [wanted(example, Pair, self.recipe) for example in examples]
        outputs = predictor([pair.source for pair in pairs])
        return [Sample(p.source, out, p.targets[0]) for p, out in zip(pairs, outputs, strict=True)]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """Metrics on the outputs, all and by length of the source; perplexity of the targets."""
        assert isinstance(predictor, TextToText)
        pairs: list[Pair] = [wanted(example, Pair, self.recipe) for example in examples]
        metrics = make(self.evaluation.metrics, self.evaluation)
        sources, references = [pair.source for pair in pairs], [pair.targets for pair in pairs]
        outputs = [row[0].text for row in predictor.writer.n_best(sources, 1, progress)]
        scores = {metric.name: metric.score(outputs, references) for metric in metrics}
        scores["perplexity"] = self.perplexity(predictor, pairs)
        lengths = [len(ids) for ids in self.tokenizers.source.encode_batch(sources)]
        edges = quantile_edges(lengths, self.evaluation.length_buckets)
        buckets = {m.name: by_length(m, lengths, outputs, references, edges) for m in metrics}
        options = predictor.options
        if isinstance(options, SearchOptions):
            setting = f"beam {options.beam}"
        else:
            setting = f"sampled at temperature {options.temperature}"
        return Outcome(len(pairs), scores, outputs, buckets, setting=setting)

    def perplexity(self, predictor: TextToText, pairs: Sequence[Pair]) -> Score:
        """exp of the mean negative log-likelihood of the references' tokens, ends included.

        Tokens are those of the run's own vocabulary, so runs of one vocabulary can be compared.
        """
        batches = batches_of(self, self._teacher_forced(pairs))
        nll = mean_loss(predictor.network, Seq2Seq(label_smoothing=0.0), batches)["nll"]
        size = self.tokenizers.target.vocab_size
        return Score(math.exp(min(nll, 700.0)), f"perplexity|tok:run|vocab:{size}")

    def _teacher_forced(self, pairs: Sequence[Pair]) -> list[Row]:
        """Every source, cut to its limit, with each of its references."""
        texts = [(pair.source, target) for pair in pairs for target in pair.targets]
        sources = self.tokenizers.source.encode_batch([source for source, _ in texts])
        targets = self.tokenizers.target.encode_batch([target for _, target in texts])
        return [
            (np.array(s[: self.recipe.data.max_source], np.uint32), np.array(t, np.uint32))
            for s, t in zip(sources, targets, strict=True)
        ]
