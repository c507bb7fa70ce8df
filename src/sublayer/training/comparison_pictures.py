"""The pictures of a comparison: a metric against time, and by length of the source."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sublayer.config.files import atomic_write
from sublayer.training.compared import Compared, ComparedCell
from sublayer.training.curves import Records
from sublayer.training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Places on the axis, and values there."""


def draw_metric(found: Compared, root: Path) -> Path:
    """Draw the validation data's first metric against minutes of training, a line for each cell.

    Where no metric is validated it is the loss, without smoothing. A band is what seeds reach.
    """
    metric, figure, axis = found.metric, *_axes()
    records = {cell.name: _records(cell) for cell in found.cells if cell.runs}
    has_metric = all(metric in r.metrics for runs in records.values() for r in runs)
    for name, runs in records.items():
        lines = [_by_minutes(r, metric if has_metric else None) for r in runs]
        begin, end = (reach(m[i] for m, _ in lines) for reach, i in ((max, 0), (min, -1)))
        places = np.unique(np.concatenate([m for m, _ in lines]))
        shared = places[(begin <= places) & (places <= end)]
        grid = shared if len(shared) else np.array([end])
        _draw(axis, name, grid, np.array([np.interp(grid, *line) for line in lines]))
    axis.set(xlabel="minutes of training", xlim=(0, None))
    axis.set_ylabel(f"validation {metric}" if has_metric else "loss per token (nats)")
    return _save(figure, axis, root / "metric.png")


def draw_lengths(found: Compared, root: Path) -> Path | None:
    """Draw the first metric by tokens of the source; None where it is not measured so."""
    if (metric := found.metric) is None:
        return None
    lengths = {c.name: c.by_length(metric) for c in found.cells if c.by_length(metric)}
    if not lengths:
        return None
    figure, axis = _axes()
    for cell in found.cells:
        if cell.name in lengths:
            middles = np.array([(b.low + b.high) / 2 for b in lengths[cell.name]])
            runs = [run["evaluation"]["by_source_length"][metric] for run in cell.runs]
            _draw(axis, cell.name, middles, np.array([[b["value"] for b in r] for r in runs]))
    axis.set(xlabel="tokens of the source", ylabel=f"{found.split} {metric}")
    return _save(figure, axis, root / "lengths.png")


def _records(cell: ComparedCell) -> list[Records]:
    folders = [cell.folder / f"seed-{run['seed']}" for run in cell.runs]
    return [Records.read(Run(folder).metrics) for folder in folders]


def _by_minutes(records: Records, metric: str | None) -> Line:
    """Of validations, or, without any, of training."""
    rows = records.valid or records.train
    values = [row["metrics"][metric] if metric else row.get("nll", row["loss"]) for row in rows]
    return np.array([row["minutes"] for row in rows]), np.array(values)


def _axes() -> tuple[Any, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    return figure, figure.subplots()


def _draw(axis: Axes, name: str, places: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """The mean of seeds, `s n`, and from the lowest to the highest."""
    from matplotlib import colormaps

    number = len(axis.lines)
    color = colormaps["tab10"](number % 10)
    style = ("-", "--", ":", "-.")[number // 10 % 4]
    axis.plot(places, values.mean(0), style, color=color, marker=".", label=name)
    if len(values) > 1:
        axis.fill_between(places, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)


def _save(figure: Any, axis: Axes, out: Path) -> Path:
    axis.grid(color="#e4e4e4", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    atomic_write(out, picture.getvalue())
    return out
