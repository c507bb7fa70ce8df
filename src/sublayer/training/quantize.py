"""A run with weights of fewer bits, and what that costs and gains on this machine."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sublayer.config.files import atomic_folder, atomic_write, check_new
from sublayer.config.plan import PLAN, Plan, plan_text
from sublayer.data.example import Example
from sublayer.data.source import Split
from sublayer.generation.weights import can_be_followed
from sublayer.metrics import Score
from sublayer.models.hub import QUANTIZATION, load_network, network_tensors, write_tensors
from sublayer.surgery.plan import plan_of
from sublayer.surgery.quantize import (
    Weights,
    has_quantized,
    is_quantized,
    quantize,
    write_quantization,
)
from sublayer.tasks import Task
from sublayer.training.evaluate import evaluate, examples_of
from sublayer.training.planned import KIND, prepare
from sublayer.training.run import Run, load_predictor, load_task, open_run

LEFT = {"checkpoints", "store", "model.safetensors", QUANTIZATION, PLAN}
"""What of a run is for training alone, or is written anew."""
ASKED, ROUNDS = 32, 3
"""Inputs that speed is measured on, and how many times."""


@dataclass(frozen=True)
class Measured:
    """A run, measured."""

    name: str
    megabytes: float
    """Of the file of its weights."""
    rate: float | None
    """Tokens written a second, or inputs answered where nothing is written; None without any."""
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
        ValueError: `source` is no finished run or quantized, nothing of it can be quantized, or
            `target` is there.
    """
    run = _check(source, target)
    network = quantize(load_network(source), weights)
    if not has_quantized(network):
        raise ValueError(f"{source} has no weights that {weights} would make smaller")
    with atomic_folder(target) as folder:
        for file in sorted(source.iterdir()):
            if file.name not in LEFT and file.is_file():
                shutil.copyfile(file, folder / file.name)
        write_tensors(network_tensors(network), folder / run.weights.name)
        write_quantization(weights, folder)
        if plan := _plan(network, source):
            atomic_write(folder / PLAN, plan_text(plan))
    if plan:
        prepare(target)


def _plan(network: nn.Module, source: Path) -> Plan | None:
    """Of a run, if `predict` can go by it."""
    plan = plan_of(network) if open_run(source)[1].objective.kind == KIND else None
    if plan is None:
        return None
    arrays = {name: tensor.numpy() for name, tensor in network_tensors(network).items()}
    return plan if can_be_followed(plan, arrays) else None


def quantize_and_measure(
    source: Path, target: Path, weights: Weights, split: Split, files: list[str]
) -> tuple[Measured, Measured]:
    """The same, measured before and after; nothing is written where there is nothing to measure.

    Raises:
        ValueError: as `quantize_run`, or the data is not there or wrong.
    """
    _check(source, target)
    quality = [evaluate(source, split, files).outcome.metrics]
    quantize_run(source, target, weights)
    quality.append(evaluate(target, split, files).outcome.metrics)
    folders = [source, target]
    unit, speeds = _speeds(folders, _some(examples_of(source, split, files)))
    sizes = [(folder / "model.safetensors").stat().st_size / 1e6 for folder in folders]
    before, after = (
        Measured(name, size, rate, unit, metrics)
        for name, size, rate, metrics in zip(
            ("before", weights), sizes, speeds, quality, strict=True
        )
    )
    return before, after


def _check(source: Path, target: Path) -> Run:
    run, _ = open_run(source)
    if is_quantized(source):
        raise ValueError(f"{source} is quantized; give the run that it was made of")
    if not run.weights.exists():
        raise ValueError(f"{source} is not finished; finish it before it is quantized")
    check_new(target)
    return run


def _some(examples: Sequence[Example]) -> list[Example]:
    """From first to last, evenly."""
    n = min(ASKED, len(examples))
    return [examples[i * len(examples) // n] for i in range(n)]


def _speeds(folders: Sequence[Path], examples: Sequence[Example]) -> tuple[str, list[float | None]]:
    """What is counted, and how much of it each run does in a second.

    They take turns, after one that does not count, so that a machine that slows down does so for
    all; medians.
    """
    task = load_task(folders[0])
    runs = [_answering(task, folder, examples) for folder in folders]
    unit = "tokens/s" if task.writes else "inputs/s"
    if not examples:
        return unit, [None for _ in runs]
    rates: list[list[float]] = [[] for _ in runs]
    for _ in range(1 + ROUNDS):
        for own, run in zip(rates, runs, strict=True):
            start = time.perf_counter()
            done = run()
            own.append(done / (time.perf_counter() - start))
    return unit, [statistics.median(own[1:]) for own in rates]


def _answering(task: Task, folder: Path, examples: Sequence[Example]) -> Callable[[], int]:
    """What answers the examples, and gives the number of tokens written or inputs answered."""
    predictor = load_predictor(folder, {})
    tokenizers = task.vocabulary.tokenizers if task.writes else None

    def run() -> int:
        outputs = [sample.output for sample in task.samples(predictor, examples)]
        if tokenizers is None:
            return len(outputs)
        return sum(len(ids) + 1 for ids in tokenizers.target.encode_batch(outputs))

    return run
