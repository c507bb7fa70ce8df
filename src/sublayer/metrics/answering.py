"""Answers to questions, as SQuAD scores them (Rajpurkar et al. 2016, 2018), but as fractions.

Texts are compared in lower case, without punctuation, without a, an and the. The empty text is "no
answer"; so is a row whose references have nothing left, as in the script of SQuAD 2.0.
https://aclanthology.org/D16-1264 https://aclanthology.org/P18-2124
"""

from __future__ import annotations

import math
import re
import string
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import final

from sublayer.config.schema import Evaluation
from sublayer.metrics.running import METRICS, Metric, References, Score

ARTICLE = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words_of(text: str) -> list[str]:
    """What counts of an answer."""
    return ARTICLE.sub(" ", text.lower().translate(NO_PUNCTUATION)).split()


class AnswerMetric(Metric):
    """Abstract. The mean over rows of the score against the best reference of each."""

    def __init__(self, evaluation: Evaluation) -> None:
        pass

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        best = []
        for hypothesis, known in zip(hypotheses, references, strict=True):
            answers = [words for text in known if (words := words_of(text))] or [[]]
            said = words_of(hypothesis)
            best.append(max(self._compare(said, answer) for answer in answers))
        signature = f"{self.name}|case:lc|refs:best|avg:rows|norm:squad2|v1"
        return Score(math.fsum(best) / len(best), signature)

    @abstractmethod
    def _compare(self, said: list[str], right: list[str]) -> float:
        """The score of the words of one answer against those of one reference."""


@METRICS.add("answer_exact")
@final
class AnswerExact(AnswerMetric):
    """Share of rows whose answer equals a reference."""

    name = "answer_exact"
    higher_is_better = True

    def _compare(self, said: list[str], right: list[str]) -> float:
        return float(said == right)


@METRICS.add("answer_f1")
@final
class AnswerF1(AnswerMetric):
    """F1 of the words in common, in any order; no answer is only like no answer."""

    name = "answer_f1"
    higher_is_better = True

    def _compare(self, said: list[str], right: list[str]) -> float:
        if not said or not right:
            return float(said == right)
        common = sum((Counter(said) & Counter(right)).values())
        return 2 * common / (len(said) + len(right))
