"""BLEU, chrF and TER, by sacrebleu (Post 2018, arXiv:1804.08771), on its own scale of 0 to 100."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, final

from sublayer.config.registry import nearest
from sublayer.config.schema import Evaluation
from sublayer.metrics.running import METRICS, Metric, References, Score

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer


class Sacrebleu(Metric):
    """Abstract. A corpus score of sacrebleu, with sacrebleu's signature.

    The scorer is made at once, so that a wrong tokenizer is reported before the model is trained.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._scorer = self._make(evaluation)

    @abstractmethod
    def _make(self, evaluation: Evaluation) -> Scorer:
        """The scorer of sacrebleu that does the counting."""

    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        # One stream of all first references, one of all second ones, ...; None fills the gaps.
        streams = list(zip_longest(*references))
        value = self._scorer.corpus_score(hypotheses, streams).score
        return Score(float(value), str(self._scorer.get_signature()))


@METRICS.add("bleu")
@final
class Bleu(Sacrebleu):
    """Clipped n-gram precision times a brevity penalty (Papineni et al. 2002).

    https://aclanthology.org/P02-1040
    """

    name = "bleu"
    higher_is_better = True

    def _make(self, evaluation: Evaluation) -> Scorer:
        from sacrebleu.metrics.bleu import BLEU

        tokenize = evaluation.tokenize
        if tokenize not in BLEU.TOKENIZERS:
            raise ValueError(
                f"unknown BLEU tokenizer '{tokenize}'; {nearest(tokenize, BLEU.TOKENIZERS)}"
            )
        return BLEU(lowercase=evaluation.lowercase, tokenize=tokenize)


@METRICS.add("chrf")
@final
class Chrf(Sacrebleu):
    """F2 of character n-grams up to 6, without spaces (Popović 2015).

    https://aclanthology.org/W15-3049
    """

    name = "chrf"
    higher_is_better = True

    def _make(self, evaluation: Evaluation) -> Scorer:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(lowercase=evaluation.lowercase)


@METRICS.add("ter")
@final
class Ter(Sacrebleu):
    """Edits, with shifts, per 100 reference words (Snover et al. 2006).

    https://aclanthology.org/2006.amta-papers.25
    """

    name = "ter"
    higher_is_better = False

    def _make(self, evaluation: Evaluation) -> Scorer:
        from sacrebleu.metrics.ter import TER

        return TER(case_sensitive=not evaluation.lowercase)
