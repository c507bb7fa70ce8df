"""The run folder: all there is to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sublayer.config.files import changed, load_json, load_recipe
from sublayer.config.schema import Generation, Recipe
from sublayer.models.hub import load_network
from sublayer.models.huggingface import read_network
from sublayer.models.snapshot import local_folder
from sublayer.surgery.quantize import is_quantized, load_quantized
from sublayer.tasks import TASKS, Predictor, Task, Vocabulary
from sublayer.tasks.foreign import MODULES, body_folder, generation_of, predictor_of
from sublayer.training.allocator import keep_freed_memory
from sublayer.training.precision import pick_device

THEIRS = "huggingface"
"""Where a converted folder keeps what lay beside the weights it was made of."""


@dataclass(frozen=True)
class Run:
    """Where things lie in a run folder."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.toml"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: losses, rates and scores as the run went."""
        return self.folder / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """What the finished run reached, and where."""
        return self.folder / "report.json"

    @property
    def curves(self) -> Path:
        """The run as a picture."""
        return self.folder / "curves.png"

    @property
    def vectors(self) -> Path:
        """How many words began with a vector of a file's."""
        return self.folder / "vectors.json"

    @property
    def weights(self) -> Path:
        """The finished model; its presence says that the run is finished."""
        return self.folder / "model.safetensors"

    @property
    def clock(self) -> Path:
        """Minutes at the end of every step."""
        return self.folder / "checkpoints" / "clock"

    @property
    def checkpoints(self) -> Path:
        """Step folders, the best and the mean."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """Weights of the best validation so far."""
        return self.folder / "checkpoints" / "best.safetensors"

    def store(self, split: str) -> Path:
        """Token ids of a split."""
        return self.folder / "store" / split


def open_run(folder: Path) -> tuple[Run, Recipe]:
    """A run folder and its recipe.

    Raises:
        ValueError: it is none.
    """
    run = Run(folder)
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is no folder; give the folder that `sublayer train --out` wrote"
        )
    if not run.recipe.exists():
        raise ValueError(
            f"{folder} is no run: it has no recipe.toml; "
            "give the folder that `sublayer train --out` wrote"
        )
    return run, load_recipe(run.recipe, [])


def load_task(folder: Path) -> Task:
    """The task of a run folder, with its recipe and vocabulary.

    Raises:
        ValueError: the folder is no run, or damaged.
    """
    _, recipe = open_run(folder)
    return TASKS[recipe.objective.kind](recipe, Vocabulary.load(folder))


def load_predictor(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    inputs: int = 1,
) -> Predictor:
    """The model of a run folder, a Hugging Face folder or a name on its hub, ready for inputs.

    `changes` are keys of the recipe's `[generation]`, or of what their folder has in its place,
    given another value; `inputs` is how many it is to answer, if that is known.

    Raises:
        ValueError: the folder is no model, not finished, or damaged, or a key is wrong.
    """
    folder, changes = local_folder(folder), changes or {}
    if not Run(folder).recipe.exists() and is_foreign(folder):
        return _hastened(*_load_foreign(folder, changes, device), inputs)
    run, recipe = open_run(folder)
    if not run.weights.exists():
        raise ValueError(
            f"{folder} is not finished; "
            f"go on with `sublayer train {run.recipe} --out {folder} --resume`"
        )
    read = load_quantized if is_quantized(folder) else load_network
    network = read(folder).to(pick_device(device))
    generation = changed(recipe.generation, changes)
    return _hastened(load_task(folder).predictor(network, generation), generation, inputs)


def _hastened(predictor: Predictor, generation: Generation, inputs: int) -> Predictor:
    predictor.processes = generation.workers
    if generation.fast:
        keep_freed_memory()
        predictor.hasten(inputs)
    return predictor


def is_foreign(folder: Path) -> bool:
    """Whether a folder is transformers', sentence-transformers', or converted from one of these."""
    if any((folder / name).exists() for name in (MODULES, THEIRS)):
        return True
    file = folder / "config.json"
    return file.exists() and "model_type" in load_json(file)


def read_foreign(folder: Path) -> tuple[nn.Module, Path]:
    """The network of a folder without a recipe, and where what lies beside it does.

    Such a folder is as transformers writes it, or what `sublayer convert --to sublayer` made of it.

    Raises:
        ValueError: it is damaged, or of an architecture that is not known here.
    """
    if (folder / THEIRS).is_dir():
        return load_network(folder), folder / THEIRS
    return read_network(body_folder(folder))[2], folder


def _load_foreign(
    folder: Path, changes: Mapping[str, Any], device: str
) -> tuple[Predictor, Generation]:
    network, beside = read_foreign(folder)
    given = changed(Generation(), generation_of(body_folder(beside)))
    generation = changed(given, changes)
    return predictor_of(network.to(pick_device(device)), beside, generation), generation


def set_threads(threads: int) -> None:
    """CPU threads of PyTorch; 0 leaves its choice."""
    if threads:
        torch.set_num_threads(threads)
