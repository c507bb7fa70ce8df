"""The run folder: all there is to a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from sublayer.config.files import load_recipe
from sublayer.config.schema import Recipe
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.predict import Predictor
from sublayer.models.base import as_encoder_decoder
from sublayer.models.hub import load_network
from sublayer.text.tokenizer import Tokenizers
from sublayer.training.precision import pick_device


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


def load_predictor(folder: Path, *, beam: int | None = None, device: str = "auto") -> Predictor:
    """The model of a run folder, ready to be given text.

    Raises:
        ValueError: the folder is no run, not finished, or damaged.
    """
    run, recipe = open_run(folder)
    if not run.weights.exists():
        raise ValueError(
            f"{folder} is not finished; "
            f"go on with `sublayer train {run.recipe} --out {folder} --resume`"
        )
    return Predictor(
        as_encoder_decoder(load_network(folder)).to(pick_device(device)),
        Tokenizers.load(folder),
        search_options(recipe, beam=beam),
        batch_tokens=recipe.generation.batch_tokens,
        max_source=recipe.data.max_source,
    )


def search_options(recipe: Recipe, *, beam: int | None = None) -> SearchOptions:
    """A recipe's search, with another beam if given."""
    g = recipe.generation
    return SearchOptions(g.beam if beam is None else beam, g.length_penalty, g.max_length)


def set_threads(threads: int) -> None:
    """CPU threads of PyTorch; 0 leaves its choice."""
    if threads:
        torch.set_num_threads(threads)
