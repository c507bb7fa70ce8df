"""Checkpoints: folders that are whole or not there, and the mean of several."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sublayer.config.files import atomic_folder, dump_json, load_json
from sublayer.models.hub import network_tensors, put_tensors, read_tensors, write_tensors
from sublayer.training.every import START, Moment
from sublayer.training.optimizers import optimizer_tensors, restore_optimizer


@dataclass(frozen=True)
class Window:
    """Sums since the last line of the log."""

    loss: float = 0.0
    nll: float = 0.0
    grad_norm: float = 0.0
    tokens: int = 0
    read: int = 0
    steps: int = 0
    since: float = 0.0
    """Minutes at the last line."""

    def plus(self, loss: float, nll: float, grad_norm: float, tokens: int, read: int) -> Window:
        """With one step more; `loss` and `nll` are sums over `tokens`, `read` went through."""
        return Window(
            self.loss + loss,
            self.nll + nll,
            self.grad_norm + grad_norm,
            self.tokens + tokens,
            self.read + read,
            self.steps + 1,
            self.since,
        )

    def means(self, minutes: float) -> dict[str, float]:
        """Per token, per step, and tokens read per second up to `minutes`."""
        seconds = 60 * (minutes - self.since)
        return {
            "loss": self.loss / self.tokens,
            "nll": self.nll / self.tokens,
            "grad_norm": self.grad_norm / self.steps,
            "tokens_per_second": self.read / seconds if seconds > 0 else 0.0,
        }


@dataclass
class Progress:
    """All that a resumed run needs to know beside tensors."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches of the epoch already taken."""
    rows: int = 0
    """Pairs of the epoch already taken."""
    before: Moment = START
    now: Moment = START
    """When the last step began and ended: what is due at a step is asked of both."""
    window: Window = Window()
    lr: float = 0.0
    """Of the last step."""
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    """Validations since the best one."""


def step_folders(checkpoints: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(
        f for f in checkpoints.glob("step-*") if f.suffix == "" and (f / "state.json").exists()
    )


def save_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Weights, optimizer, random numbers and position, under one rename."""
    random = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["random/cuda"] = torch.cuda.get_rng_state()
    with atomic_folder(folder) as beside:
        write_tensors(network_tensors(network), beside / "model.safetensors")
        write_tensors(
            optimizer_tensors(network, optimizer) | random, beside / "optimizer.safetensors"
        )
        dump_json(asdict(progress), beside / "state.json")


def load_checkpoint(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put everything back as it was.

    Raises:
        ValueError: a file is damaged; it is named.
    """
    put_tensors(
        network, read_tensors(folder / "model.safetensors"), str(folder / "model.safetensors")
    )
    tensors = read_tensors(folder / "optimizer.safetensors")
    torch.set_rng_state(tensors.pop("random/cpu"))
    on_gpu = tensors.pop("random/cuda", None)
    if on_gpu is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)
    restore_optimizer(network, optimizer, tensors)
    state: dict[str, Any] = load_json(folder / "state.json")
    kinds = {"before": Moment, "now": Moment, "window": Window}
    return Progress(
        **{key: kinds[key](**value) if key in kinds else value for key, value in state.items()}
    )


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the `keep` newest step folders."""
    for folder in step_folders(checkpoints)[: -max(keep, 1)]:
        shutil.rmtree(folder)


def mean_of(folders: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of checkpoints' weights (Vaswani et al. 2017, section 6.1), summed in float64."""
    total: dict[str, Tensor] = {}
    for folder in folders:
        for name, tensor in read_tensors(folder / "model.safetensors").items():
            total[name] = total[name] + tensor.double() if name in total else tensor.double()
    return {name: (tensor / len(folders)).float() for name, tensor in total.items()}
