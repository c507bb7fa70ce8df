"""What every task shares: how examples become batches, and what a trained model answers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from sublayer.config.registry import Registry
from sublayer.config.schema import Evaluation, Generation, Recipe
from sublayer.data.batch import Row, Step
from sublayer.data.example import Example
from sublayer.data.order import BucketOrder, Order, cut
from sublayer.data.result import Result as Result
from sublayer.data.store import Store
from sublayer.metrics import Bucket, Score
from sublayer.objectives.base import Objective
from sublayer.surgery.pack import ready
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.tokenizer import Tokenizers

Notes = dict[str, int | float]
"""What is counted while examples are encoded; it goes into the store's meta.json."""

Examples = Iterable[Example]
Progress = Callable[[int], None]
"""Hears how many rows more are done."""

CHUNK = 2_000
"""Examples encoded at a time."""


class Predictor(ABC):
    """Abstract. A trained model with all it needs to be given plain inputs.

    `network` is the `nn.Module`, `vocabulary` holds its tokenizers and labels.
    """

    def __init__(self, network: nn.Module, vocabulary: Vocabulary) -> None:
        self.network, self.vocabulary = network.eval(), vocabulary
        self.worker = self.network
        """What answers: the network, or its packed twin."""
        self.shortened = 0
        """Inputs that were too long and cut, so far."""
        self.first = 0
        """The number of the first input in what all are part of: samples follow from numbers."""
        self.processes = 0
        """How many answer a file: see `generation.workers`."""

    @abstractmethod
    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` best answers to each input, best first; fewer where there are no more."""

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The best answer to each input, as its text."""
        if isinstance(inputs, str):
            raise ValueError("give a list of texts, not one text")
        return [found[0].text for found in self.results(inputs)]

    def hasten(self, inputs: int = 1) -> None:
        """Answer by the kernels that are fastest for so many; `network` stays as it is."""
        # vectors and probabilities stay exact
        self.worker = ready(self.network, torch.float32, inputs=inputs)

    def stream(self, text: str) -> Iterator[str]:
        """The best answer piece by piece, where a model writes; else whole."""
        yield self.results([text])[0][0].text


@dataclass(frozen=True)
class Outcome:
    """What a measurement gives."""

    rows: int
    metrics: dict[str, Score]
    outputs: list[str]
    """One a row, as `predict` writes them."""
    buckets: dict[str, list[Bucket]] = field(default_factory=dict)
    """By metric; source lengths in tokens."""
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Rows of a label by what the model said, for labels."""
    setting: str = ""
    """How outputs were found, in words."""


@dataclass(frozen=True)
class Sample:
    """One validation input, what the model makes of it, and what it should."""

    source: str
    output: str
    reference: str


class Task(ABC):
    """Abstract. One kind of objective, bound to a recipe and a vocabulary."""

    reads_text: ClassVar[bool] = True
    """Whether it has tokenizers."""
    unit: ClassVar[str] = "token"
    """One of what goes through the model, as `read` of a batch counts it."""
    numbers: tuple[str, ...] = ("loss", "nll", "perplexity")
    """Validation numbers that the best checkpoint may be chosen by, beside metrics."""
    writes: ClassVar[bool] = False
    """Whether answers are texts that a model writes token by token."""
    takes_metrics: ClassVar[bool] = True
    """Whether what it says is measured by `evaluation.metrics`; else its measures are its own."""
    has_words: ClassVar[bool] = False
    """Whether it gives vectors of words, measured by files of similar words and of analogies."""

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary) -> None:
        self.recipe, self.vocabulary = recipe, vocabulary

    # ---- before training

    @staticmethod
    @abstractmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """Tokenizers and labels from the training examples; `given` tokenizers are kept.

        Raises:
            ValueError: the examples are not of the shape the task wants.
        """

    @abstractmethod
    def keys(self) -> dict[str, Any]:
        """Keys of the model's configuration that follow from task and vocabulary."""

    @abstractmethod
    def check(self, network: nn.Module) -> None:
        """That the network is one this task can train.

        Raises:
            ValueError: it is not.
        """

    def begin(self, network: nn.Module) -> None:  # noqa: B027  most have nothing to do
        """Set what follows from the vocabulary, beside its size, in a new network."""

    @abstractmethod
    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """Rows for the store; what is left out is counted in `notes`."""

    @property
    @abstractmethod
    def ids(self) -> int:
        """All numbers in the store's rows are below this."""

    # ---- while training

    @abstractmethod
    def objective(self) -> Objective:
        """The loss."""

    @abstractmethod
    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Step:
        """A batch; what is drawn at random is drawn from `random` alone."""

    def training_batch(self, rows: Sequence[Row], random: np.random.Generator) -> Step:
        """A batch to learn from, where that is another than one to measure with."""
        return self.collate(rows, random)

    def order(self, store: Store) -> Order:
        """Which rows make which batch."""
        return BucketOrder(store, self.recipe.training.batch_tokens, self.recipe.seed)

    def in_order(self, store: Store) -> Iterator[list[Row]]:
        """All rows once, for measuring."""
        indices = np.arange(len(store))
        lengths = store.lengths(indices) + 1
        for batch in cut(indices, lengths, self.recipe.training.batch_tokens):
            yield store.rows(batch)

    def fields(self, means: Mapping[str, float], meta: Mapping[str, Any]) -> dict[str, float]:
        """Validation numbers from the means of the loss and its parts; `meta` is the store's."""
        if "perplexity" in self.numbers:
            return {**means, "perplexity": math.exp(min(means["nll"], 700.0))}
        return dict(means)

    # ---- using and measuring

    @abstractmethod
    def predictor(self, network: nn.Module, generation: Generation) -> Predictor:
        """The network with what it needs to answer."""

    @abstractmethod
    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """What the model makes of examples, to be looked at."""

    @abstractmethod
    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """The recipe's metrics on examples.

        Raises:
            ValueError: the examples are not of the shape the task wants.
        """

    @property
    def evaluation(self) -> Evaluation:
        """What is to be measured."""
        return self.recipe.evaluation


TASKS: Registry[type[Task]] = Registry("objective")


def wanted(example: Example, kind: type[Any], recipe: Recipe) -> Any:
    """The example, if it has the shape the task wants.

    Raises:
        ValueError: it has not.
    """
    if isinstance(example, kind):
        return example
    raise ValueError(
        f"the objective '{recipe.objective.kind}' learns from {SHAPES[kind.__name__]}, but data of "
        f"kind '{recipe.data.kind}' gives {SHAPES[type(example).__name__]}; change one of the two"
    )


SHAPES = {
    "Pair": "pairs of texts, or texts with labels",
    "Document": "documents",
    "Tagged": "tagged words",
    "Question": "questions with answers",
    "Picture": "images with labels",
}


def check_places(places: int | None, needed: int, told: str, keys: str) -> None:
    """That a model has places for the longest sequence a recipe allows; None is no limit.

    Raises:
        ValueError: it has not; `told` is what needs them, `keys` what would ask for fewer.
    """
    if places is not None and needed > places:
        raise ValueError(
            f"the model has places for {places} tokens, {told} {needed}; "
            f"raise model.max_length or lower {keys}"
        )
