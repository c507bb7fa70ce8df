"""Numbers from outputs: texts and references in, a value with its signature out."""

from sublayer.metrics.answering import AnswerExact, AnswerF1
from sublayer.metrics.buckets import Bucket, by_length, quantile_edges
from sublayer.metrics.classification import (
    Accuracy,
    MacroF1,
    MicroF1,
    Pearson,
    Spearman,
    SquaredError,
    confusion,
)
from sublayer.metrics.retrieval import mean_reciprocal_rank, recall_at
from sublayer.metrics.running import METRICS, Metric, References, Score, make
from sublayer.metrics.sequence import ErrorRate, ExactMatch, TokenErrorRate, edit_distance
from sublayer.metrics.summary import Rouge1, Rouge2, RougeL
from sublayer.metrics.tagging import EntityF1, WordAccuracy, WordF1
from sublayer.metrics.translation import Bleu, Chrf, Ter
from sublayer.metrics.vectors import analogies_solved, rank_correlation

__all__ = [
    "METRICS",
    "Accuracy",
    "AnswerExact",
    "AnswerF1",
    "Bleu",
    "Bucket",
    "Chrf",
    "EntityF1",
    "ErrorRate",
    "ExactMatch",
    "MacroF1",
    "Metric",
    "MicroF1",
    "Pearson",
    "References",
    "Rouge1",
    "Rouge2",
    "RougeL",
    "Score",
    "Spearman",
    "SquaredError",
    "Ter",
    "TokenErrorRate",
    "WordAccuracy",
    "WordF1",
    "analogies_solved",
    "by_length",
    "confusion",
    "edit_distance",
    "make",
    "mean_reciprocal_rank",
    "quantile_edges",
    "rank_correlation",
    "recall_at",
]
