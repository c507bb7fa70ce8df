"""One label for an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sublayer.config.objective import ImagesObjective
from sublayer.config.schema import Generation, Recipe
from sublayer.data.batch import Labelled, Row
from sublayer.data.example import Example, Picture
from sublayer.data.images import read_image
from sublayer.data.order import BucketOrder
from sublayer.data.store import Store
from sublayer.layers.place import device_of
from sublayer.metrics import confusion, make
from sublayer.models.base import ImageEncoder
from sublayer.objectives.labels import OneLabel
from sublayer.tasks.base import (
    TASKS,
    Examples,
    Notes,
    Outcome,
    Predictor,
    Progress,
    Result,
    Sample,
    Task,
    wanted,
)
from sublayer.tasks.texts import labelled
from sublayer.tasks.vocabulary import Vocabulary, sorted_labels
from sublayer.text.tokenizer import Tokenizers

Pixels = NDArray[np.uint8]

MEAN, SPREAD = 0.5, 0.5
"""Pixels from 0 to 1 become those from -1 to 1, as in the released ViT."""


def as_inputs(pictures: Sequence[Pixels]) -> Tensor:
    """Pixels `c h w` from 0 to 255 -> `b c h w`, from -1 to 1."""
    stacked = torch.from_numpy(np.stack(pictures)).float()
    return (stacked / 255 - MEAN) / SPREAD


def as_image_encoder(network: nn.Module) -> ImageEncoder:
    """The network, if it looks at images.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(network, ImageEncoder):
        raise ValueError(
            f"{type(network).__name__} does not look at images; use a family such as vit"
        )
    return network


def pixels_of(row: Any) -> Pixels:
    """`c h w` of a row of the store."""
    shape = row[:3].astype(np.int64)
    return row[3:].astype(np.uint8).reshape(shape)


@final
class ImageLabels(Predictor):
    """A trained classifier of images; an input is a file's name, or pixels `c h w` (uint8).

    `shape` is what images are resized to.
    """

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        shape: tuple[int, int, int],
        *,
        batch: int = 64,
    ) -> None:
        super().__init__(network, vocabulary)
        self.shape, self.batch = shape, batch

    def __call__(self, inputs: Sequence[str | Path | Pixels]) -> list[str]:
        """The likeliest label of each image."""
        if isinstance(inputs, str):
            raise ValueError("give a list of images, not one")
        return [row[0].text for row in self.label(self._pixels(inputs))]

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` likeliest labels of each file, with their probabilities."""
        return self.label(self._pixels(inputs), n, progress)

    def _pixels(self, inputs: Sequence[str | Path | Pixels]) -> list[Pixels]:
        channels, height, width = self.shape
        return [
            one if isinstance(one, np.ndarray) else read_image(Path(one), channels, (height, width))
            for one in inputs
        ]

    @torch.inference_mode()
    def label(
        self, pictures: Sequence[Pixels], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The same for pixels."""
        network = as_image_encoder(self.worker)
        device = device_of(network)
        out: list[list[Result]] = []
        for start in range(0, len(pictures), self.batch):
            batch = as_inputs(pictures[start : start + self.batch]).to(device)
            for share in network(batch).float().softmax(-1).tolist():
                ranked = labelled(self.vocabulary, share, n)
                out.append([Result(x, {"probability": p, "label": x}) for x, p in ranked])
            if progress is not None:
                progress(len(batch))
        return out


@TASKS.add("images")
@final
class Images(Task):
    """Images with labels."""

    reads_text = False
    unit = "image"
    numbers = ("loss", "nll", "accuracy")

    @staticmethod
    def learn(recipe: Recipe, examples: Examples, given: Tokenizers | None = None) -> Vocabulary:
        """The labels."""
        pictures = (wanted(example, Picture, recipe) for example in examples)
        return Vocabulary(None, sorted_labels(picture.label for picture in pictures))

    @property
    def settings(self) -> ImagesObjective:
        """The recipe's objective."""
        assert isinstance(self.recipe.objective, ImagesObjective)
        return self.recipe.objective

    def keys(self) -> dict[str, Any]:
        """What the model is to say."""
        return {"head": "classify", "n_labels": len(self.vocabulary.labels)}

    def check(self, network: nn.Module) -> None:
        """A network that looks at images."""
        as_image_encoder(network)

    def encode(self, examples: Examples, notes: Notes) -> Iterator[Row]:
        """An image a row: channels, height, width, and the pixels one after another; its label."""
        for example in examples:
            picture = wanted(example, Picture, self.recipe)
            label = self.vocabulary.number(picture.label)
            row = np.concatenate((picture.pixels.shape, picture.pixels.flatten()))
            yield row.astype(np.uint32), np.array([label], np.uint32)

    @property
    def ids(self) -> int:
        """Shades, sizes or labels: two bytes are enough for each."""
        return 2**16

    def objective(self) -> OneLabel:
        """Cross-entropy."""
        return OneLabel(self.settings.label_smoothing)

    def collate(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Images as they are."""
        return self._batch([pixels_of(row) for row, _ in rows], [label for _, label in rows])

    def training_batch(self, rows: Sequence[Row], random: np.random.Generator) -> Labelled:
        """Images each moved by up to `shift` pixels; what comes in at the edges is black."""
        reach = self.settings.shift
        pictures = []
        for row, _ in rows:
            picture = pixels_of(row)
            padded = np.pad(picture, ((0, 0), (reach, reach), (reach, reach)))
            y, x = random.integers(2 * reach + 1, size=2)
            pictures.append(padded[:, y : y + picture.shape[1], x : x + picture.shape[2]])
        return self._batch(pictures, [label for _, label in rows])

    def order(self, store: Store) -> BucketOrder:
        """Batches of `training.batch_tokens` images."""
        t = self.recipe.training
        return BucketOrder(store, t.batch_tokens * self._numbers(store), self.recipe.seed)

    def in_order(self, store: Store) -> Iterator[list[Row]]:
        """All images once."""
        for begin in range(0, len(store), self.recipe.training.batch_tokens):
            end = min(begin + self.recipe.training.batch_tokens, len(store))
            yield store.rows(np.arange(begin, end))

    @staticmethod
    def _numbers(store: Store) -> int:
        """Of the largest row, which is what an image counts as."""
        return int(store.lengths(np.arange(len(store))).max()) + 1

    def _batch(self, pictures: list[Pixels], labels: Sequence[Any]) -> Labelled:
        told = torch.from_numpy(np.concatenate(labels).astype(np.int64))
        return Labelled(as_inputs(pictures), None, None, told, len(told), len(told))

    def predictor(self, network: nn.Module, generation: Generation) -> ImageLabels:
        """The model that labels images."""
        return ImageLabels(network, self.vocabulary, as_image_encoder(network).embed.shape)

    def samples(self, predictor: Predictor, examples: Sequence[Example]) -> list[Sample]:
        """What images are taken for."""
        assert isinstance(predictor, ImageLabels)
        pictures: list[Picture] = [wanted(example, Picture, self.recipe) for example in examples]
        said = predictor([picture.pixels for picture in pictures])
        return [
            Sample("x".join(map(str, p.pixels.shape)), label, p.label)
            for p, label in zip(pictures, said, strict=True)
        ]

    def score(
        self, predictor: Predictor, examples: Sequence[Example], progress: Progress
    ) -> Outcome:
        """The recipe's metrics, and what is taken for what."""
        assert isinstance(predictor, ImageLabels)
        pictures: list[Picture] = [wanted(example, Picture, self.recipe) for example in examples]
        found = predictor.label([picture.pixels for picture in pictures], 1, progress)
        outputs, right = [row[0].text for row in found], [(p.label,) for p in pictures]
        metrics = make(self.evaluation.metrics, self.evaluation)
        scores = {metric.name: metric.score(outputs, right) for metric in metrics}
        return Outcome(len(pictures), scores, outputs, confusion=confusion(outputs, right))
