"""Tags of words: a row is the tags of a sentence, one space between them.

Tags are no texts: they are compared as they are, whatever the recipe's `lowercase` says.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from typing import final

from sublayer.config.optional import needs
from sublayer.config.schema import Evaluation
from sublayer.metrics.classification import mean_f1, only
from sublayer.metrics.running import METRICS, Metric, References, Score

Sentences = list[list[str]]

ENTITY_TAG = re.compile(r"O|[BIES]-.+")


class TagMetric(Metric):
    """Abstract. Compares sentences of as many tags as their references have."""

    rule: str
    """The signature's middle."""

    def __init__(self, evaluation: Evaluation) -> None:
        pass

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        said = [tags_of(text) for text in hypotheses]
        right = [tags_of(text) for text in only(self.name, references)]
        for row, (some, known) in enumerate(zip(said, right, strict=True)):
            if len(some) != len(known):
                raise ValueError(
                    f"{self.name}: row {row} has {len(some)} tags but its reference has "
                    f"{len(known)}; give one tag for each word, with one space between them"
                )
        if not any(right):
            raise ValueError(f"{self.name}: no row has a tag; give at least one that has")
        return Score(self._compare(said, right), f"{self.name}|case:mixed|{self.rule}|v1")

    @abstractmethod
    def _compare(self, said: Sentences, right: Sentences) -> float:
        """The share over all rows, which fit and have at least one tag."""


def tags_of(text: str) -> list[str]:
    """The tags of a row; the empty text has none."""
    return text.split(" ") if text else []


@METRICS.add("word_accuracy")
@final
class WordAccuracy(TagMetric):
    """Share of words, of all rows together, whose tag is the right one."""

    name = "word_accuracy"
    higher_is_better = True
    rule = "words:pooled"

    def _compare(self, said: Sentences, right: Sentences) -> float:
        pairs = list(zip(chain(*said), chain(*right), strict=True))
        return sum(a == b for a, b in pairs) / len(pairs)


@METRICS.add("word_f1")
@final
class WordF1(TagMetric):
    """Mean F1 of the tags that occur, on either side, over the words of all rows together."""

    name = "word_f1"
    higher_is_better = True
    rule = "words:pooled|tags:either"

    def _compare(self, said: Sentences, right: Sentences) -> float:
        return mean_f1(list(chain(*said)), list(chain(*right)))


@METRICS.add("entity_f1")
@final
class EntityF1(TagMetric):
    """F1 of entities, right if type, first and last word are, by seqeval (Nakayama 2018).

    Entities are those of conlleval, the script of the CoNLL-2003 task, for BIO (IOB1 and IOB2) and
    IOBES: a type that changes begins one, also at I- or E-. Rows without entities on either side
    score 1. https://aclanthology.org/W03-0419
    """

    name = "entity_f1"
    higher_is_better = True

    def __init__(self, evaluation: Evaluation) -> None:
        with needs("entity_f1", "seqeval", "metrics"):
            from seqeval.metrics import f1_score
        self._f1 = f1_score
        self.rule = f"entities:conlleval|avg:micro|seqeval:{version('seqeval')}"

    def _compare(self, said: Sentences, right: Sentences) -> float:
        for row, tags in chain(enumerate(right), enumerate(said)):
            for tag in tags:
                if not ENTITY_TAG.fullmatch(tag):
                    raise ValueError(
                        f"{self.name}: row {row} has the tag '{tag}', but entities are tagged "
                        "B-X, I-X, E-X or S-X, and O outside; take word_f1 for other tags"
                    )
        return float(self._f1(right, said, average="micro", zero_division=1))
