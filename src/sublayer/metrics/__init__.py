"""Numbers from outputs: each metric takes texts and references, and gives a value with its
signature.
"""

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
