"""sublayer: LayerNorm(x + Sublayer(x)), trained, decoded, inspected and served.

model = sublayer.load("runs/pronounce")
model(["transformer"])                      # text in, text out
network = sublayer.build("transformer", size="base", vocab_size=8000)
logits = network(source, target_in)         # b k, b q -> b q v
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from sublayer.tasks import Predictor

__all__ = ["build", "load", "train"]


def load(source: str | Path, *, device: str = "auto", **generation: Any) -> Predictor:
    """The model of a run folder, of a Hugging Face folder, or of a name on its hub (`org/name`).

    Call it with texts; `.network` is the `nn.Module` inside. `generation` are keys of the recipe's
    `[generation]` given another value: `beam=1`.

    Raises:
        ValueError: the source is no model, not finished, or damaged, or a key is wrong.
    """
    from sublayer.training.run import load_predictor

    return load_predictor(Path(source), generation, device=device)


def build(family: str, size: str | None = None, **keys: Any) -> nn.Module:
    """An untrained network of a family, from its size table and the family's own keys.

    Raises:
        ValueError: the family, the size or a key is unknown, or a value is out of range.
    """
    from sublayer.models.base import build

    return build(family, size, **keys)


def train(
    recipe: str | Path, out: str | Path, changes: Sequence[str] = (), *, resume: bool = False
) -> Predictor:
    """Train a recipe into a run folder, and load the model.

    `changes` are keys given another value, as on the command line: `["training.minutes=5"]`.

    Raises:
        ValueError: the recipe does not fit its data, the folder is in use, or the loss is no
            longer a number.
    """
    from sublayer.config.files import load_recipe
    from sublayer.training.start import train

    train(load_recipe(Path(recipe), changes), Path(out), resume=resume)
    return load(out)
