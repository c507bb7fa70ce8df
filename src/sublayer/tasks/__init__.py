"""What a model is for: from examples to batches, and from a trained network to answers."""

# each file enters its task in the registry
from sublayer.tasks import answer as answer
from sublayer.tasks import bidirectional as bidirectional
from sublayer.tasks import classify as classify
from sublayer.tasks import embed as embed
from sublayer.tasks import glove as glove
from sublayer.tasks import images as images
from sublayer.tasks import language as language
from sublayer.tasks import masked as masked
from sublayer.tasks import seq2seq as seq2seq
from sublayer.tasks import spans as spans
from sublayer.tasks import tag as tag
from sublayer.tasks import words as words
from sublayer.tasks.base import TASKS, Outcome, Predictor, Result, Sample, Task
from sublayer.tasks.vocabulary import Vocabulary

__all__ = ["TASKS", "Outcome", "Predictor", "Result", "Sample", "Task", "Vocabulary"]
