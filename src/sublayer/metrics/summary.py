"""ROUGE (Lin 2004, https://aclanthology.org/W04-1013), by the package rouge-score, as fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import final

from sublayer.config.optional import needs
from sublayer.config.schema import Evaluation
from sublayer.metrics.running import METRICS, Metric, References, Score


class Rouge(Metric):
    """Abstract. The mean over rows of the F-measure against the best reference of each.

    No stemmer. Tokens are runs of a to z and digits in lower-cased text, so a text in another
    script has none. The scorer is made at once, so that a missing package is reported before the
    model is trained.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        with needs(self.name, "rouge-score", "metrics"):
            from rouge_score.rouge_scorer import RougeScorer
        self._scorer = RougeScorer([self.name], use_stemmer=False)

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        values = [
            float(self._scorer.score_multi(known, text)[self.name].fmeasure)
            for text, known in zip(hypotheses, references, strict=True)
        ]
        rule = "case:lc|refs:best|avg:rows|stem:no|tok:a-z0-9"
        signature = f"{self.name}|{rule}|rouge-score:{version('rouge-score')}|v1"
        return Score(math.fsum(values) / len(values), signature)


@METRICS.add("rouge1")
@final
class Rouge1(Rouge):
    """Words in common."""

    name = "rouge1"
    higher_is_better = True


@METRICS.add("rouge2")
@final
class Rouge2(Rouge):
    """Pairs of neighbouring words in common; a text of one word has none."""

    name = "rouge2"
    higher_is_better = True


@METRICS.add("rougeL")
@final
class RougeL(Rouge):
    """The longest subsequence of words in common, each text taken as one sentence."""

    name = "rougeL"
    higher_is_better = True
