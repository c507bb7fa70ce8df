"""The picture of a run: what it learned, by steps and by minutes."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sublayer.config.files import atomic_write
from sublayer.training.log import read_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN, VALID, METRIC, RATE = "#8cb4d9", "#b8442f", "#2f6b4f", "#777777"


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a run in the order written: of training steps, and of validations."""

    train: list[dict[str, Any]]
    valid: list[dict[str, Any]]

    @classmethod
    def read(cls, file: Path) -> Records:
        """Every record of a run's `metrics.jsonl`.

        Raises:
            ValueError: there is none.
        """
        records = list(read_records(file))
        if not records:
            raise ValueError(f"{file} has no records yet; let the run reach its first log line")
        train, valid = ([r for r in records if r["split"] == name] for name in ("train", "valid"))
        return cls(train, valid)

    @property
    def clock(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Steps and the minutes they were reached at, from 0 on, neither ever falling."""
        ordered = sorted((record["step"], record["minutes"]) for record in self.train + self.valid)
        steps, minutes = np.array([(0, 0), *ordered], dtype=np.float64).T
        return steps, np.maximum.accumulate(minutes)

    @property
    def metrics(self) -> dict[str, tuple[list[int], list[float]]]:
        """Steps and values of each validation metric."""
        series: dict[str, tuple[list[int], list[float]]] = {}
        for record in self.valid:
            for name, value in record.get("metrics", {}).items():
                steps, values = series.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(value)
        return series


def draw_curves(metrics_jsonl: Path, out: Path) -> None:
    """Draw losses, validation metrics and learning rate over the steps of a run, as PNG.

    Minutes are on top. `out` is replaced only when the new picture is complete.

    Raises:
        ValueError: there is no record.
        OSError: the picture cannot be written.
    """
    from matplotlib.figure import Figure

    records = Records.read(metrics_jsonl)
    metrics = records.metrics
    heights = [3.2, *[1.6] * (len(metrics) + 1)]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _draw_losses(axes[0], records)
    for axis, (name, (steps, values)) in zip(axes[1:-1], metrics.items(), strict=True):
        _draw_metric(axis, name, steps, values)
    _draw_rate(axes[-1], records)
    for axis in axes:
        axis.grid(color="#e4e4e4", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    _add_minutes(axes[0], *records.clock)
    figure.align_ylabels()

    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    atomic_write(out, picture.getvalue())


def _draw_losses(axis: Axes, records: Records) -> None:
    if records.train:
        steps, losses = _series(records.train, "loss")
        axis.plot(steps, losses, color=TRAIN, marker=".", markersize=3, label="training")
    if records.valid:
        steps, losses = _series(records.valid, "loss")
        best = min(zip(losses, steps, strict=True))
        label = f"validation, lowest {best[0]:.3f} at step {best[1]}"
        axis.plot(steps, losses, color=VALID, marker="o", markersize=3, label=label)
    axis.set_ylabel("loss per target token (nats)")
    axis.legend(frameon=False)


def _draw_metric(axis: Axes, name: str, steps: list[int], values: list[float]) -> None:
    axis.plot(steps, values, color=METRIC, marker="o", markersize=3, label=f"last {values[-1]:.4g}")
    axis.set_ylabel(name)
    axis.legend(frameon=False)


def _draw_rate(axis: Axes, records: Records) -> None:
    axis.plot(*_series(records.train, "lr"), color=RATE, marker=".", markersize=3)
    axis.set(ylabel="learning rate", xlabel="step")
    axis.ticklabel_format(axis="y", scilimits=(-2, 2))


def _series(records: list[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    return [record["step"] for record in records], [record[key] for record in records]


def _add_minutes(axis: Axes, steps: NDArray[np.float64], minutes: NDArray[np.float64]) -> None:
    """A second axis on top, whose ticks stand where the clock showed round minutes."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, minutes[-1])
    ticks = ticks[ticks <= minutes[-1]]
    axis.set_xlim(0, max(steps[-1], 1))
    top = axis.twiny()
    top.set_xlim(axis.get_xlim())
    top.set_xticks(np.interp(ticks, minutes, steps), [f"{tick:g}" for tick in ticks])
    top.set_xlabel("minutes")
    top.spines[["right", "bottom"]].set_visible(False)
