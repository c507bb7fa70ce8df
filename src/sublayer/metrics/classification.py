"""Rows with a label, with several labels or none, or with a number.

Labels are no texts: they are compared as they are, whatever the recipe's `lowercase` says.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from sublayer.config.schema import Evaluation
from sublayer.metrics.running import METRICS, Metric, References, Score, check_rows

SEPARATOR = "\t"
"""Between the labels of a hypothesis of several."""


def only(name: str, references: References) -> list[str]:
    """The one reference of each row.

    Raises:
        ValueError: a row has several.
    """
    for row, known in enumerate(references):
        if len(known) > 1:
            raise ValueError(
                f"{name}: row {row} has {len(known)} references; give it one, "
                "or take micro_f1 for rows of several labels"
            )
    return [known[0] for known in references]


def mean_f1(said: Sequence[str], right: Sequence[str]) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of each label that is said or right, and their plain mean."""
    found = Counter(a for a, b in zip(said, right, strict=True) if a == b)
    known = Counter(said) + Counter(right)  # 2 TP + FP + FN
    return math.fsum(2 * found[label] / count for label, count in known.items()) / len(known)


def confusion(hypotheses: Sequence[str], references: References) -> dict[str, dict[str, int]]:
    """Rows by their label, and of these by what was said of them: `table[label][said]`.

    Every label that occurs is a key, in sorted order, and so are those said of it; what was never
    said of a label is left out.

    Raises:
        ValueError: as `Metric.score`, or a row has several references.
    """
    check_rows("confusion", hypotheses, references)
    right = only("confusion", references)
    table: dict[str, dict[str, int]] = {label: {} for label in sorted({*right, *hypotheses})}
    for (label, said), rows in sorted(Counter(zip(right, hypotheses, strict=True)).items()):
        table[label][said] = rows
    return table


@METRICS.add("accuracy")
@final
class Accuracy(Metric):
    """Share of rows whose label is the right one."""

    name = "accuracy"
    higher_is_better = True

    def __init__(self, evaluation: Evaluation) -> None:
        pass

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        right = only(self.name, references)
        hits = sum(a == b for a, b in zip(hypotheses, right, strict=True))
        return Score(hits / len(right), f"{self.name}|case:mixed|refs:one|v1")


@METRICS.add("macro_f1")
@final
class MacroF1(Metric):
    """Mean F1 of the labels that occur, on either side; each weighs the same however rare it is."""

    name = "macro_f1"
    higher_is_better = True

    def __init__(self, evaluation: Evaluation) -> None:
        pass

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        value = mean_f1(hypotheses, only(self.name, references))
        return Score(value, f"{self.name}|case:mixed|refs:one|labels:either|v1")


@METRICS.add("micro_f1")
@final
class MicroF1(Metric):
    """F1 of the pairs of row and label, for rows of several labels or none.

    A hypothesis is labels with tabs between them, a row's references are its right labels. The
    empty text is no label. Rows that have no label at all, and are said to have none, score 1.
    """

    name = "micro_f1"
    higher_is_better = True

    def __init__(self, evaluation: Evaluation) -> None:
        pass

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        found = total = 0
        for hypothesis, known in zip(hypotheses, references, strict=True):
            said, right = {*hypothesis.split(SEPARATOR)} - {""}, {*known} - {""}
            found += len(said & right)
            total += len(said) + len(right)
        value = 2 * found / total if total else 1.0
        return Score(value, f"{self.name}|case:mixed|refs:all|sep:tab|v1")


class NumberMetric(Metric):
    """Abstract. Compares numbers that are written as text."""

    rule = "refs:one"
    """The signature's middle."""

    def __init__(self, evaluation: Evaluation) -> None:
        pass

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        said = self._numbers("hypothesis", hypotheses)
        right = self._numbers("reference", only(self.name, references))
        return Score(self._compare(said, right), f"{self.name}|{self.rule}|v1")

    def _numbers(self, what: str, texts: Sequence[str]) -> NDArray[np.float64]:
        numbers = np.empty(len(texts))
        for row, text in enumerate(texts):
            try:
                numbers[row] = float(text)
            except ValueError:
                numbers[row] = math.nan
            if not math.isfinite(numbers[row]):
                raise ValueError(
                    f"{self.name}: the {what} of row {row}, {text!r:.60}, is not a finite number; "
                    "give one, such as 2.5"
                )
        return numbers

    @abstractmethod
    def _compare(self, said: NDArray[np.float64], right: NDArray[np.float64]) -> float:
        """The number over all rows, both `n`."""


@METRICS.add("pearson")
@final
class Pearson(NumberMetric):
    """Pearson's correlation, -1 to 1; 0 where all numbers of one side are equal."""

    name = "pearson"
    higher_is_better = True
    rule = "refs:one|constant:0"

    def _compare(self, said: NDArray[np.float64], right: NDArray[np.float64]) -> float:
        return correlation(said, right)


@METRICS.add("spearman")
@final
class Spearman(NumberMetric):
    """Pearson's correlation of the ranks, equal numbers having the mean of theirs."""

    name = "spearman"
    higher_is_better = True
    rule = "refs:one|ties:mean|constant:0"

    def _compare(self, said: NDArray[np.float64], right: NDArray[np.float64]) -> float:
        return correlation(ranked(said), ranked(right))


@METRICS.add("squared_error")
@final
class SquaredError(NumberMetric):
    """Mean over rows of the squared difference."""

    name = "squared_error"
    higher_is_better = False

    def _compare(self, said: NDArray[np.float64], right: NDArray[np.float64]) -> float:
        return float(np.mean((said - right) ** 2))


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of what deviates from the means; 0 where nothing does."""
    if a.min() == a.max() or b.min() == b.max():
        return 0.0
    a, b = (d / np.abs(d).max() for d in (a - a.mean(), b - b.mean()))
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(cosine, -1, 1))


def ranked(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; of equal numbers each has the mean."""
    _, where, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]
