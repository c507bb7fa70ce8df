"""Questions answered by a passage of a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from sublayer.config.objective import AnswerObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row
from sublayer.data.example import Example, Question
from sublayer.generation.batches import batches
from sublayer.metrics import make
from sublayer.objectives.labels import Answer
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
from sublayer.tasks.passages import wrap
from sublayer.tasks.texts import (
    Learned,
    as_classifier,
    batch_of,
    done_with,
    learn_tokenizer,
    logits_of,
    split_input,
)
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.tokenizer import Tokenizer, Tokenizers

NOWHERE = (0, 0)
"""Where a text without an answer points to: the first token (Devlin et al. 2019, section 4.3)."""


@dataclass(frozen=True)
class Passage:
    """Question and a stretch of the text as ids, and the characters of the text's tokens."""

    ids: list[int]
    begin: int
    """Place of the text's first token."""
    spans: list[tuple[int, int]]

    def places(self, answers: Sequence[tuple[int, str]]) -> tuple[int, int]:
        """First and last token of the first answer that lies in this stretch whole."""
        for start, text in answers:
            end = start + len(text)
            inside = [i for i, (a, b) in enumerate(self.spans) if a < end and b > start]
            if inside and self.spans[0][0] <= start and self.spans[-1][1] >= end:
                return self.begin + inside[0], self.begin + inside[-1]
        return NOWHERE


def passages_of(
    question: str, context: str, tokenizer: Tokenizer, length: int
) -> Iterator[Passage]:
    """Stretches of the text that overlap by half, each with the question before it.

    A question is cut to half of what `length` leaves beside special ids.
    """
    asked, text = tokenizer.encode_batch([question, context])
    spans = tokenizer.offsets(context)
    asked = asked[: (length - len(wrap([], [], tokenizer))) // 2]
    begin = tokenizer.framing.turn(len(asked))
    room = length - len(wrap(asked, [], tokenizer))
    step = max(room // 2, 1)
    for start in range(0, max(len(text) - room, 0) + step, step):
        part = text[start : start + room]
        yield Passage(wrap(asked, part, tokenizer), begin, spans[start : start + room])
        if start + room >= len(text):
            return


@final
class Answers(Predictor):
    """A trained model that finds answers; an input is a question and a text, a tab between."""

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        settings: AnswerObjective,
        *,
        batch_tokens: int = 4096,
    ) -> None:
        super().__init__(network, vocabulary)
        self.settings, self.batch_tokens = settings, batch_tokens
        bound = as_classifier(network, "find an answer").max_length
        self.length = settings.length if bound is None else min(settings.length, bound)

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` best answers, where they stand, and how they compare to there being none.

        Raises:
            ValueError: an input has no tab.
        """
        asked = []
        for text in inputs:
            question, context = split_input(text)
            if context is None:
                raise ValueError(f"'{text[:60]}' has no tab: write question, tab, text")
            asked.append((question, context))
        return self.find(asked, n, progress)

    def find(
        self, asked: Sequence[tuple[str, str]], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The same for questions and texts."""
        network = as_classifier(self.worker, "find an answer")
        parts = [
            (number, passage)
            for number, (question, context) in enumerate(asked)
            for passage in passages_of(question, context, self.vocabulary.text, self.length)
        ]
        left = Counter(number for number, _ in parts)
        found: list[list[tuple[float, int, int]]] = [[] for _ in asked]
        for rows in batches([len(passage.ids) for _, passage in parts], self.batch_tokens):
            batch = batch_of(
                [parts[i][1].ids for i in rows],
                torch.empty(0),
                self.vocabulary.text,
                [parts[i][1].begin for i in rows],
            )
            for i, logits in zip(rows, logits_of(network, batch), strict=True):
                number, passage = parts[i]
                found[number] += self._spans(passage, logits, n)
            if progress is not None:
                progress(done_with(left, (parts[i][0] for i in rows)))
        return [
            [self._result(context, *span) for span in _best(spans, n)]
            for (_, context), spans in zip(asked, found, strict=True)
        ]

    def _spans(self, passage: Passage, logits: Tensor, n: int) -> list[tuple[float, int, int]]:
        """Score over that of no answer, first and last character of the best stretches.

        Of no answer both characters are 0.
        """
        size = len(passage.spans)
        none = float(logits[0].sum())
        if not size:
            return [(0.0, 0, 0)]
        first, last = logits[passage.begin : passage.begin + size].unbind(-1)
        scores = first.unsqueeze(1) + last  # from first to last token
        allowed = torch.ones_like(scores, dtype=torch.bool).triu()
        allowed &= ~torch.ones_like(allowed).triu(self.settings.longest)
        best, places = scores.masked_fill(~allowed, float("-inf")).flatten().topk(min(n, size))
        spans = [
            (score - none, passage.spans[place // size][0], passage.spans[place % size][1])
            for score, place in zip(best.tolist(), places.tolist(), strict=True)
        ]
        return [*spans, (0.0, 0, 0)]

    def _result(self, context: str, score: float, begin: int, end: int) -> Result:
        whole = context[begin:end]  # some pieces take along the space before them
        text = whole.strip()
        begin += len(whole) - len(whole.lstrip())
        fields = {"score": score, "text": text, "begin": begin, "end": begin + len(text)}
        return Result(text, fields)


def _best(spans: Sequence[tuple[float, int, int]], n: int) -> list[tuple[float, int, int]]:
    """The `n` best, each once: stretches that overlap find the same."""
    found: dict[tuple[int, int], tuple[float, int, int]] = {}
    for span in sorted(spans, key=lambda span: -span[0]):
        found.setdefault(span[1:], span)
    return list(found.values())[:n]


@TASKS.add("answer")
@final
class Answering(Task):
    """Questions, texts, and where in them the answers stand."""

    numbers = ("loss", "nll", "accuracy")

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """One vocabulary from questions and texts."""
        questions = (wanted(example, Question, recipe) for example in examples)
        texts = (Learned(question.question, (question.context,)) for question in questions)
        return Vocabulary(learn_tokenizer(recipe, texts, given))

    @property
    def settings(self) -> AnswerObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, AnswerObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """The vocabulary's size, and what the model is to say."""
        return {"vocab_size": self.vocabulary.text.vocab_size, "head": "answer"}

    def check(self, network: nn.Module) -> None:
        """A model that points at tokens, with places for a passage."""
        places = as_classifier(network, "find an answer").max_length
        check_places(places, self.settings.length, "objective.length is", "objective.length")

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """A stretch of a text a row; where it begins, and the answer's first and last token."""
        for example in examples:
            asked = wanted(example, Question, self.recipe)
            for passage in passages_of(
                asked.question, asked.context, self.vocabulary.text, self.settings.length
            ):
                places = (passage.begin, *passage.places(asked.answers))
                yield np.array(passage.ids, np.uint32), np.array(places, np.uint32)

    @property
    def ids(self) -> int:
        """Pieces or places."""
        return max(self.vocabulary.text.vocab_size, self.settings.length + 1)

    def objective(self) -> Answer:
        """Cross-entropy of both places."""
        return Answer()

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Padded passages and places."""
        places = np.stack([places for _, places in rows]).astype(np.int64)
        labels, tokenizer = torch.from_numpy(places[:, 1:]), self.vocabulary.text
        return batch_of([ids for ids, _ in rows], labels, tokenizer, places[:, 0].tolist())

    def predictor(self, network: nn.Module, generation: Generation) -> Answers:
        """The model that finds answers."""
        return Answers(
            network, self.vocabulary, self.settings, batch_tokens=generation.batch_tokens
        )

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """Questions with the model's answer and the right one."""
        assert isinstance(predictor, Answers)
        asked: list[Question] = [wanted(example, Question, self.recipe) for example in examples]
        found = predictor.find([(q.question, q.context) for q in asked])
        return [
            Sample(q.question, row[0].text, q.answers[0][1] if q.answers else "")
            for q, row in zip(asked, found, strict=True)
        ]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """The recipe's metrics on the answers' texts."""
        assert isinstance(predictor, Answers)
        asked: list[Question] = [wanted(example, Question, self.recipe) for example in examples]
        found = predictor.find([(q.question, q.context) for q in asked], 1, progress)
        outputs = [row[0].text for row in found]
        right = [tuple(text for _, text in q.answers) or ("",) for q in asked]
        metrics = make(self.evaluation.metrics, self.evaluation)
        scores = {metric.name: metric.score(outputs, right) for metric in metrics}
        outputs = [" ".join(output.split()) for output in outputs]
        return Outcome(len(asked), scores, outputs)
