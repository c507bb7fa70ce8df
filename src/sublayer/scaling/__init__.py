"""What a model costs before its first step: parameters, FLOPs, memory."""

from sublayer.scaling.count import Count, Part, count
from sublayer.scaling.field import receptive_field
from sublayer.scaling.memory import DecodingMemory, TrainingMemory, decoding_memory, training_memory

__all__ = [
    "Count",
    "DecodingMemory",
    "Part",
    "TrainingMemory",
    "count",
    "decoding_memory",
    "receptive_field",
    "training_memory",
]
