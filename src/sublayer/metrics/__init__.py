"""Numbers from outputs: texts and references in, a value with its signature out."""

from sublayer.metrics.buckets import Bucket, by_length, quantile_edges
from sublayer.metrics.running import METRICS, Metric, References, Score, make
from sublayer.metrics.sequence import ErrorRate, ExactMatch, TokenErrorRate, edit_distance
from sublayer.metrics.translation import Bleu, Chrf, Ter

__all__ = [
    "METRICS",
    "Bleu",
    "Bucket",
    "Chrf",
    "ErrorRate",
    "ExactMatch",
    "Metric",
    "References",
    "Score",
    "Ter",
    "TokenErrorRate",
    "by_length",
    "edit_distance",
    "make",
    "quantile_edges",
]
