"""Spans left out and written after: T5's span corruption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.objective import SpansObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Batch, Row, collate
from sublayer.data.example import Document, Example
from sublayer.generation.generate import Options, asked, generate, streams_of
from sublayer.generation.hypothesis import Hypothesis, SearchOptions
from sublayer.layers.place import device_of
from sublayer.metrics import Score
from sublayer.models.base import as_encoder_decoder
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.surgery.pack import ready
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
    check_places,
    wanted,
)
from sublayer.tasks.language import learn_text
from sublayer.tasks.measure import batches_of, mean_loss
from sublayer.tasks.passages import first_words, parts_of, passages
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.tasks.writing import write_options
from sublayer.text.special import sentinel
from sublayer.text.tokenizer import Tokenizers

SENTINELS = 100
"""As many as T5's vocabulary has: no passage has more spans."""


def lengths_of(total: int, parts: int, random: np.random.Generator) -> list[int]:
    """`parts` positive lengths that add up to `total`, all ways of cutting being equally likely."""
    cuts = np.sort(random.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff([0, *cuts, total]).tolist()


def corrupt(
    ids: Sequence[int],
    settings: SpansObjective,
    sentinels: Sequence[int],
    random: np.random.Generator,
) -> tuple[list[int], list[int]]:
    """A text with sentinels for spans, and the sentinels each with its span, one more at the end.

    Raffel et al. 2020, section 3.1.4, as released: `share` of the tokens in spans of mean length
    `span`, kept and taken stretches by turns, beginning with one that is kept.
    """
    taken = min(max(round(len(ids) * settings.share), 1), len(ids) - 1)
    spans = min(max(round(taken / settings.span), 1), taken, len(ids) - taken, len(sentinels) - 1)
    kept_lengths = lengths_of(len(ids) - taken, spans, random)
    taken_lengths = lengths_of(taken, spans, random)
    source: list[int] = []
    target: list[int] = []
    at = 0
    for sign, kept, gone in zip(sentinels, kept_lengths, taken_lengths, strict=False):
        source += [*ids[at : at + kept], sign]
        target += [sign, *ids[at + kept : at + kept + gone]]
        at += kept + gone
    return source, [*target, sentinels[spans]]


@final
class Infills(Predictor):
    """A trained model that writes what stands for each sentinel of a text.

    Raises:
        ValueError: there are stop strings, which would leave sentinels without a text.
    """

    def __init__(self, network: nn.Module, vocabulary: Vocabulary, generation: Generation) -> None:
        super().__init__(network, vocabulary)
        if generation.stop:
            raise ValueError("generation.stop ends a text, but spans are several; leave it out")
        self.options = write_options(generation, vocabulary.text)

    def hasten(self, inputs: int = 1) -> None:
        """Answer by the kernels that are fastest for so many; `network` stays as it is."""
        self.worker = ready(self.network, inputs=inputs)

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """Each text with its sentinels, `<extra_id_0>` and so on, filled in.

        Raises:
            ValueError: a text has no sentinel.
        """
        return [self._fill(i, text, n, progress) for i, text in enumerate(inputs, self.first)]

    @torch.inference_mode()
    def _fill(self, number: int, text: str, n: int, progress: Progress | None) -> list[Result]:
        tokenizer = self.vocabulary.text
        sentinels = tokenizer.special.sentinels
        rest = text
        signs: list[str] = []
        while len(signs) < len(sentinels) and (sign := sentinel(len(signs))) in rest:
            rest = rest.partition(sign)[2]
            signs.append(sign)
        if not signs:
            raise ValueError(f"'{text[:60]}' has no {sentinel(0)}: put it where text is missing")
        first, *others = parts_of(text, signs, tokenizer)
        source = list(first)
        for id, part in zip(sentinels, others, strict=False):
            source += [id, *part]
        source.append(tokenizer.special.eos)
        network = as_encoder_decoder(self.worker)
        device = device_of(network)
        options, draws = asked(self._as_wide_as(n), n)
        found: list[Hypothesis] = []
        for draw in range(draws):
            streams = streams_of(options, [(number, draw)])
            ids = torch.tensor([source], device=device)
            found += generate(network, ids, None, options, tokenizer.special, streams=streams)[0]
        if progress is not None:
            progress(1)
        return [self._result(source[:-1], h.ids, h.score) for h in found]

    def _as_wide_as(self, n: int) -> Options:
        """A beam for `n` outputs."""
        options = self.options
        if not isinstance(options, SearchOptions) or options.beam >= n:
            return options
        parts = options.groups.count
        return replace(options, beam=-(-n // parts) * parts)

    def _result(self, source: list[int], written: list[int], score: float) -> Result:
        tokenizer = self.vocabulary.text
        fills = split_at(written, tokenizer.special.sentinels)
        whole = []
        for id in source:
            whole += fills.get(id, []) if id in tokenizer.special.sentinels else [id]
        text = tokenizer.decode(whole)
        asked = [id for id in source if id in tokenizer.special.sentinels]
        told = [tokenizer.decode(fills.get(id, [])) for id in asked]
        return Result(text, {"score": score, "text": text, "fills": told})


def split_at(ids: Sequence[int], signs: Sequence[int]) -> dict[int, list[int]]:
    """What stands after each sign."""
    found: dict[int, list[int]] = {}
    last: list[int] = []
    for id in ids:
        if id in signs:
            last = found.setdefault(id, [])
        else:
            last.append(id)
    return found


@TASKS.add("spans")
@final
class Spans(Task):
    """Documents in passages; spans are taken out anew each time, and are to be written."""

    unit = "target token"
    writes = True
    takes_metrics = False

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary with sentinels, from the documents."""
        return learn_text(recipe, examples, given, [sentinel(i) for i in range(SENTINELS)])

    @property
    def settings(self) -> SpansObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, SpansObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size."""
        return {"vocab_size": self.ids}

    def check(self, network: nn.Module) -> None:
        """An encoder-decoder with places for a passage."""
        places = as_encoder_decoder(network).max_length
        told = "objective.length and the end need"
        check_places(places, self.settings.length + 1, told, "objective.length")

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A passage a row; those of fewer than three tokens are left out."""
        notes |= {"skipped_empty": 0}
        for example in examples:
            text = wanted(example, Document, self.recipe).text
            for ids, _ in passages(text, self.vocabulary.text, self.settings.length):
                if len(ids) < 3:
                    notes["skipped_empty"] += 1
                else:
                    yield np.array(ids, np.uint32), np.empty(0, np.uint32)

    @property
    def ids(self) -> int:
        """The vocabulary's size."""
        return self.vocabulary.text.vocab_size

    def objective(self) -> Seq2Seq:
        """Cross-entropy of what has been taken out."""
        return Seq2Seq(label_smoothing=0.0)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Batch:
        """Passages with sentinels, and what they stand for."""
        special = self.vocabulary.text.special
        pairs = [corrupt(ids.tolist(), self.settings, special.sentinels, random) for ids, _ in rows]
        return collate([(np.array(a), np.array(b)) for a, b in pairs], special, special)

    def predictor(self, network: nn.Module, generation: Generation) -> Infills:
        """The model that writes what is missing."""
        return Infills(network, self.vocabulary, generation)

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """Documents' first words with three of them taken out."""
        made = []
        for example in examples:
            text = wanted(example, Document, self.recipe).text
            words = first_words(text, 24, self.settings.length - 1, self.vocabulary.text)
            middle = len(words) // 2
            hidden = " ".join([*words[:middle], sentinel(0), *words[middle + 3 :]])
            made.append((hidden, " ".join(words)))
        outputs = predictor([hidden for hidden, _ in made])
        return [Sample(h, out, text) for (h, text), out in zip(made, outputs, strict=True)]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """Perplexity of the tokens to be written, always the same ones."""
        rows = list(self.encode(examples, {}))
        means = mean_loss(predictor.network, self.objective(), batches_of(self, rows))
        progress(len(examples))
        o = self.settings
        signature = f"tok:run|vocab:{self.ids}|share:{o.share}|span:{o.span}|length:{o.length}"
        scores = {
            name: Score(value, f"{name}|{signature}")
            for name, value in self.fields(means, {}).items()
            if name != "loss"
        }
        return Outcome(len(examples), scores, [], setting=f"{len(rows)} passages")
