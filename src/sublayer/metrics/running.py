"""What a metric is, and the shelf the named ones are filed on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from sublayer.config.registry import Registry
from sublayer.config.schema import Evaluation

References = Sequence[tuple[str, ...]]
"""One tuple a row; rows may differ in the number of their references."""


@dataclass(frozen=True, slots=True)
class Score:
    """A number, and the signature that says how to get it again."""

    value: float
    signature: str


def check_rows(name: str, hypotheses: Sequence[str], references: References) -> None:
    """What every score asks of its rows.

    Raises:
        ValueError: there are no rows, the two differ in number, or a row has no reference.
    """
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{name}: {len(hypotheses)} hypotheses but {len(references)} rows of "
            "references; give one row of references for each hypothesis"
        )
    if not hypotheses:
        raise ValueError(f"{name}: there are no rows to score; give at least one")
    for row, known in enumerate(references):
        if not known:
            raise ValueError(f"{name}: row {row} has no reference; leave it out or give it one")


class Metric(ABC):
    """Abstract. Outputs against one or more references a row, all rows at once.

    Values are on the metric's own scale: shares and rates from 0 to 1, sacrebleu's from 0 to 100.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]

    def score(self, hypotheses: Sequence[str], references: References) -> Score:
        """Score `hypotheses[i]` against `references[i]`, over all rows.

        Raises:
            ValueError: there are no rows, the two differ in number, or a row has no reference.
        """
        check_rows(self.name, hypotheses, references)
        return self._score(hypotheses, references)

    @abstractmethod
    def _score(self, hypotheses: Sequence[str], references: References) -> Score:
        """Score checked rows."""


METRICS: Registry[Callable[[Evaluation], Metric]] = Registry("metric")


def make(names: Sequence[str], evaluation: Evaluation) -> list[Metric]:
    """The metrics called `names`, set up as the recipe says.

    Raises:
        ValueError: a name is unknown, or the recipe's tokenizer for BLEU is.
    """
    return [METRICS[name](evaluation) for name in names]
