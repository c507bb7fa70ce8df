"""Words left out and filled in: masked language models, with or without a task on two passages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.objective import MaskedObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row, pad
from sublayer.data.example import Document, Example
from sublayer.layers.place import device_of
from sublayer.metrics import Score
from sublayer.models.base import Encoder
from sublayer.objectives.labels import UNTOLD, HiddenTokens
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
from sublayer.tasks.language import learn_text, most_frequent
from sublayer.tasks.measure import batches_of, mean_loss
from sublayer.tasks.passages import first_words, parts_of, passages, wrap
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.special import MASK
from sublayer.text.tokenizer import Tokenizers

MASKED, RANDOM = 0.8, 0.1
"""Of the tokens that are to be told; the rest stays as it is (Devlin et al. 2019, section 3.1)."""


def as_encoder(network: nn.Module, doing: str) -> Encoder:
    """The network, if it sees both sides of every token.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(network, Encoder):
        raise ValueError(
            f"{type(network).__name__} does not see both sides of a token, so it cannot {doing}; "
            "use a family such as bert"
        )
    return network


@final
class Fills(Predictor):
    """A trained masked model: says what may stand for each mask."""

    @property
    def mask(self) -> int:
        """The mask's id."""
        mask = self.vocabulary.text.special.mask
        if mask is None:
            raise ValueError(
                "the vocabulary has no mask, so there is nothing to fill in: "
                "name its mask_token in tokenizer_config.json"
            )
        return mask

    @property
    def sign(self) -> str:
        """How the mask is written."""
        return self.vocabulary.text.pieces([self.mask])[0]

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """Each text with its masks filled in: all by their likeliest, then by their second, ...

        Raises:
            ValueError: a text has no mask.
        """
        return [self._fill(text, n, progress) for text in inputs]

    @torch.inference_mode()
    def _fill(self, text: str, n: int, progress: Progress | None) -> list[Result]:
        ids = self._with_masks(text)
        tokenizer = self.vocabulary.text
        network = as_encoder(self.worker, "fill in a mask")
        device = device_of(network)
        inputs = torch.tensor([wrap(ids, None, tokenizer)], device=device)
        hidden = network.hidden(inputs)[inputs == self.mask]  # masks m
        share = network.head(hidden).float().softmax(-1)  # masks v
        share = share[:, : tokenizer.vocab_size]  # a table may have rows to fill it up
        p, fills = share.topk(min(n, share.shape[1]))  # masks n
        if progress is not None:
            progress(1)
        ranks = zip(fills.T.tolist(), p.T.tolist(), strict=True)
        return [self._result(ids, *rank) for rank in ranks]

    def _with_masks(self, text: str) -> list[int]:
        tokenizer = self.vocabulary.text
        ids = tokenizer.encode(text)
        if self.mask in ids:  # a vocabulary made elsewhere reads the sign by itself
            return ids
        if self.sign not in text:
            raise ValueError(
                f"'{text[:60]}' has no {self.sign}: put one where a word is to be told"
            )
        parts = parts_of(text, [self.sign] * text.count(self.sign), tokenizer)
        ids = list(parts[0])
        for part in parts[1:]:
            ids += [self.mask, *part]
        return ids

    def _result(self, ids: list[int], fills: list[int], p: list[float]) -> Result:
        tokenizer, chosen = self.vocabulary.text, iter(fills)
        text = tokenizer.decode([next(chosen) if id == self.mask else id for id in ids])
        told = [
            {"token": piece, "probability": share}
            for piece, share in zip(tokenizer.pieces(fills), p, strict=True)
        ]
        return Result(text, {"probability": float(np.prod(p)), "text": text, "fills": told})


@TASKS.add("masked")
@final
class Masked(Task):
    """Documents in passages; some tokens are hidden anew each time, and are to be told."""

    numbers: tuple[str, ...] = ("loss", "nll", "perplexity", "accuracy")
    takes_metrics = False

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary) -> None:
        super().__init__(recipe, vocabulary)
        if self.settings.pairs != "none":
            self.numbers = (*self.numbers, "pair_accuracy")

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary with a mask, from the documents."""
        return learn_text(recipe, examples, given, [MASK])

    @property
    def settings(self) -> MaskedObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, MaskedObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size, and what the model is to say."""
        has_pairs = self.settings.pairs != "none"
        head = "masked_and_pairs" if has_pairs else "masked"
        return {"vocab_size": self.ids, "head": head, "pooler": has_pairs}

    def check(self, network: nn.Module) -> None:
        """An encoder with places for a passage."""
        places = as_encoder(network, "fill in a mask").max_length
        check_places(places, self.settings.length, "objective.length is", "objective.length")

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A passage a row, and where its sentences begin; entropy of single tokens is noted.

        With a task on two passages, those of one sentence are left out.
        """
        two = self.settings.pairs != "none"
        room = self._room
        notes |= {"skipped_empty": 0}
        counts: Counter[int] = Counter()
        for example in examples:
            text = wanted(example, Document, self.recipe).text
            for ids, begins in passages(text, self.vocabulary.text, room):
                if two and not begins:
                    notes["skipped_empty"] += 1
                    continue
                counts.update(ids)
                yield np.array(ids, np.uint32), np.array(begins, np.uint32)
        if counts:
            notes["unigram_nll"], notes["unigram_accuracy"] = most_frequent(counts)

    @property
    def ids(self) -> int:
        """The vocabulary's size."""
        return self.vocabulary.text.vocab_size

    def objective(self) -> HiddenTokens:
        """Cross-entropy of the hidden tokens, and of the pair if there is one."""
        return HiddenTokens()

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Passages with tokens hidden, and what they were."""
        texts, segments, pair = self._passages(rows, random)
        ids, valid = pad(texts, self.vocabulary.text.special.pad)
        inputs, labels = self._hide(ids.numpy(), random)
        return Labelled(
            torch.from_numpy(inputs),
            valid,
            None if segments is None else pad(segments, 0)[0],
            torch.from_numpy(labels),
            int((labels != UNTOLD).sum()),
            sum(map(len, texts)),
            None if pair is None else torch.from_numpy(pair),
        )

    def _passages(
        self, rows: Sequence[Row], random: np.random.Generator
    ) -> tuple[list[Any], list[Any] | None, Any]:
        """Ids with begin and end; which of two texts each is of; and the label of the two.

        "next": half of the second texts are another passage's, label 1. "order": half of the pairs
        are turned round, label 1.
        """
        tokenizer, kind = self.vocabulary.text, self.settings.pairs
        if kind == "none":
            return [wrap(ids.tolist(), None, tokenizer) for ids, _ in rows], None, None
        halves = []
        for ids, begins in rows:
            cut = int(random.choice(begins))
            halves.append((ids[:cut].tolist(), ids[cut:].tolist()))
        label = random.integers(2, size=len(rows))
        if kind == "next":  # of the next row, or of its own where it is alone
            label = label if len(rows) > 1 else np.zeros_like(label)
            other = [halves[i - 1][1] for i in range(len(halves))]
            pairs = [(a, other[i] if label[i] else b) for i, (a, b) in enumerate(halves)]
        else:
            pairs = [(b, a) if label[i] else (a, b) for i, (a, b) in enumerate(halves)]
        framed = [tokenizer.frame(a, b[: max(self._room - len(a), 1)]) for a, b in pairs]
        texts, segments = ([pair[side] for pair in framed] for side in (0, 1))
        return texts, segments, label.astype(np.int64)

    @property
    def _room(self) -> int:
        """Tokens of a passage, or two, beside special ones."""
        second = None if self.settings.pairs == "none" else ()
        return self.settings.length - len(wrap((), second, self.vocabulary.text))

    def _hide(self, ids: Any, random: np.random.Generator) -> tuple[Any, Any]:
        """Inputs and labels of `ids` (`b n`); at least one token of a batch is hidden."""
        special = self.vocabulary.text.special
        open_to = ~np.isin(ids, [special.pad, special.bos, special.eos])
        told = open_to & (random.random(ids.shape) < self.settings.share)
        if not told.any():
            told.flat[random.choice(np.flatnonzero(open_to))] = True
        labels = np.where(told, ids, UNTOLD)
        kind = random.random(ids.shape)
        strange = random.integers(self.ids, size=ids.shape)
        changed = np.where(kind < MASKED + RANDOM, strange, ids)
        hidden = np.where(kind < MASKED, special.mask, changed)
        return np.where(told, hidden, ids), labels

    def fields(self, means: Mapping[str, float], meta: Mapping[str, Any]) -> dict[str, float]:
        """The means, and what guessing by frequency alone would reach: the floor to be under."""
        floor = {key: meta[key] for key in ("unigram_nll", "unigram_accuracy")}
        return {**super().fields(means, meta), **floor}

    def predictor(self, network: nn.Module, generation: Generation) -> Fills:
        """The model that fills in masks."""
        return Fills(network, self.vocabulary)

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """The middle word of the first sentence of documents."""
        assert isinstance(predictor, Fills)
        made = []
        for example in examples:
            text = wanted(example, Document, self.recipe).text
            words = first_words(text, 20, self._room - 1, self.vocabulary.text)
            middle = len(words) // 2
            hidden = " ".join([*words[:middle], predictor.sign, *words[middle + 1 :]])
            made.append((hidden, " ".join(words)))
        outputs = predictor([hidden for hidden, _ in made])
        return [Sample(h, out, text) for (h, text), out in zip(made, outputs, strict=True)]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """Accuracy and perplexity of hidden tokens, always the same ones, beside the unigram's."""
        notes: Notes = {}
        rows = list(self.encode(examples, notes))
        means = mean_loss(predictor.network, self.objective(), batches_of(self, rows))
        progress(len(examples))
        found = self.fields(means, notes)
        signature = f"tok:run|vocab:{self.ids}|share:{self.settings.share}"
        scores = {
            name: Score(value, f"{name}|{signature}")
            for name, value in found.items()
            if name != "loss"
        }
        return Outcome(len(examples), scores, [], setting=f"{len(rows)} passages")
