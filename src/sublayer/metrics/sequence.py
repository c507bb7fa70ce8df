"""Outputs right or wrong, as a whole or by token: exact match, word and token error rate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import final

from sublayer.config.schema import Evaluation
from sublayer.metrics.running import METRICS, Metric, References, Score


class SequenceMetric(Metric):
    """Abstract. Compares texts as they are, or both lower-cased if the recipe says so."""

    rule: str
    """The signature's middle: which reference counts and what a token is."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._lowercase = evaluation.lowercase

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        if self._lowercase:
            hypotheses = [text.lower() for text in hypotheses]
            references = [tuple(text.lower() for text in row) for row in references]
        case = "lc" if self._lowercase else "mixed"
        return Score(self._rate(hypotheses, references), f"{self.name}|case:{case}|{self.rule}|v1")

    @abstractmethod
    def _rate(self, hypotheses: Sequence[str], references: References) -> float:
        """The share or rate over all rows."""


@METRICS.add("exact_match")
@final
class ExactMatch(SequenceMetric):
    """Share of rows whose output equals any of the row's references, character for character."""

    name = "exact_match"
    higher_is_better = True
    rule = "refs:any"

    def _rate(self, hypotheses: Sequence[str], references: References) -> float:
        return _right(hypotheses, references) / len(hypotheses)


@METRICS.add("wer")
@final
class ErrorRate(SequenceMetric):
    """Share of rows whose output equals none of the row's references: 1 - `exact_match`.

    This is what grapheme-to-phoneme work calls word error rate, a row being one word. What speech
    recognition calls word error rate, edits per reference word, is `per` on rows of words.
    """

    name = "wer"
    higher_is_better = False
    rule = "refs:any"

    def _rate(self, hypotheses: Sequence[str], references: References) -> float:
        return (len(hypotheses) - _right(hypotheses, references)) / len(hypotheses)


@METRICS.add("per")
@final
class TokenErrorRate(SequenceMetric):
    """Edits to the nearest reference over its tokens, both summed over all rows.

    Tokens stand between spaces. Phoneme error rate where they are phonemes; where they are words,
    speech recognition's word error rate. The nearest reference is the one with the fewest edits,
    and of those the longest. As in TER, edits against nothing but empty references are a rate of 1.
    """

    name = "per"
    higher_is_better = False
    rule = "refs:nearest|tok:space"

    def _rate(self, hypotheses: Sequence[str], references: References) -> float:
        edits = tokens = 0
        for hypothesis, known in zip(hypotheses, references, strict=True):
            output = hypothesis.split()
            distances = [
                (edit_distance(output, target), len(target)) for target in map(str.split, known)
            ]
            fewest, length = min(distances, key=lambda pair: (pair[0], -pair[1]))
            edits += fewest
            tokens += length
        return edits / tokens if tokens else float(edits > 0)


def _right(hypotheses: Sequence[str], references: References) -> int:
    return sum(text in known for text, known in zip(hypotheses, references, strict=True))


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions from `a` to `b`.

    Myers 1999 (doi:10.1145/316542.316550) as written by Hyyrö 2003. A column of the table of
    distances between prefixes is two bit vectors, where the next row is one more and where it is
    one less; so a token of `b` costs a dozen operations on integers of `len(a)` bits.
    """
    if not a:
        return len(b)
    where: dict[Hashable, int] = {}
    for i, token in enumerate(a):
        where[token] = where.get(token, 0) | 1 << i
    column, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    more, less, distance = column, 0, len(a)
    for token in b:
        match = where.get(token, 0)
        # Rows whose distance equals their upper left neighbour's.
        diagonal = (((match & more) + more) ^ more) | match | less
        # Rows where this column is one more, or one less, than the one before.
        rises, falls = less | ~(diagonal | more), more & diagonal
        distance += bool(rises & last) - bool(falls & last)
        # One row down; the row of the empty prefix always rises, `b` having one token more.
        rises, falls = rises << 1 | 1, falls << 1
        more, less = (falls | ~(diagonal | rises)) & column, rises & diagonal & column
    return distance
