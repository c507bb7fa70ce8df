"""A run with weights of fewer bits, and what that costs and gains on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sublayer.config.files import atomic_folder, check_new
from sublayer.data.source import Split
from sublayer.metrics import Score
from sublayer.models.hub import QUANTIZATION, load_network, network_tensors, write_tensors
from sublayer.surgery.quantize import (
    Weights,
    is_quantized,
    quantize,
    write_quantization,
)
from sublayer.training.evaluate import evaluate
from sublayer.training.run import Run, load_task, open_run

LEFT = {"checkpoints", "store", "model.safetensors", QUANTIZATION}
"""What of a run is for training alone, or is written anew."""


@dataclass(frozen=True)
class Measured:
    """A run, measured."""

    name: str
    megabytes: float
    """Of its weights, on disk and in memory."""
    rate: float
    """Tokens written a second, or inputs answered where nothing is written."""
    unit: str
    metrics: dict[str, Score]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        values = {name: score.value for name, score in self.metrics.items()}
        return {
            "name": self.name,
            "megabytes": self.megabytes,
            self.unit: self.rate,
            "metrics": values,
        }


def quantize_run(source: Path, target: Path, weights: Weights) -> None:
    """Write the run `source` with quantized weights to `target`.

    Raises:
        ValueError: `source` is no finished run or quantized, or `target` is there.
    """
    run = _check(source, target)
    network = quantize(load_network(source), weights)
    with atomic_folder(target) as folder:
        for file in sorted(source.iterdir()):
            if file.name not in LEFT and file.is_file():
                shutil.copyfile(file, folder / file.name)
        write_tensors(network_tensors(network), folder / run.weights.name)
        write_quantization(weights, folder)


def quantize_and_measure(
    source: Path, target: Path, weights: Weights, split: Split, files: list[str]
) -> tuple[Measured, Measured]:
    """The same, measured before and after; nothing is written where there is nothing to measure.

    Raises:
        ValueError: as `quantize_run`, or the data is not there or wrong.
    """
    _check(source, target)
    before = measure(source, "before", split, files)
    quantize_run(source, target, weights)
    return before, measure(target, weights, split, files)


def _check(source: Path, target: Path) -> Run:
    run, _ = open_run(source)
    if is_quantized(source):
        raise ValueError(f"{source} is quantized; give the run that it was made of")
    if not run.weights.exists():
        raise ValueError(f"{source} is not finished; finish it before it is quantized")
    check_new(target)
    return run


def measure(folder: Path, name: str, split: Split, files: list[str]) -> Measured:
    """Quality and speed of a run on a split of its data, or on `files`."""
    found = evaluate(folder, split, files)
    outcome = found.outcome
    rows, unit = outcome.rows, "inputs/s"
    task = load_task(folder)
    tokenizers = task.vocabulary.tokenizers
    if task.writes and tokenizers is not None:
        rows = sum(len(ids) + 1 for ids in tokenizers.target.encode_batch(outcome.outputs))
        unit = "tokens/s"
    size = (folder / "model.safetensors").stat().st_size / 1e6
    return Measured(name, size, rows / found.seconds, unit, outcome.metrics)
