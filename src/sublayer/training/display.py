"""A run on the terminal: a bar with rate and time left, a line for each validation, and samples."""

from __future__ import annotations

from typing import Any, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sublayer.tasks.base import Sample
from sublayer.training.callbacks import Listener
from sublayer.training.every import Moment


@final
class Display(Listener):
    """Shows a run on stderr when that is a terminal; piped, it says nothing."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._shown = self._console.is_terminal
        self._bar = Progress(
            TextColumn("step {task.fields[step]:,}  epoch {task.fields[epoch]:.1f}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %  {task.fields[left]} left  {task.fields[rates]}"),
            console=self._console,
            transient=True,
            disable=not self._shown,
        )
        self._task = self._bar.add_task("train", total=1.0, step=0, epoch=0.0, left="?", rates="")
        if self._shown:
            self._bar.start()

    def on_step(self, moment: Moment) -> None:
        """Move the bar."""
        if not self._shown:
            return
        left = moment.minutes * (1 - moment.progress) / moment.progress if moment.progress else 0.0
        self._bar.update(
            self._task,
            completed=moment.progress,
            step=moment.step,
            epoch=moment.epoch,
            left=_clock(left),
        )

    def on_record(self, record: dict[str, Any]) -> None:
        """Rates beside the bar; a line for a validation."""
        if record["split"] == "train":
            rates = (
                f"loss {record['loss']:.3f}  lr {record['lr']:.2e}  "
                f"{record['tokens_per_second']:,.0f} tokens/s"
            )
            self._bar.update(self._task, rates=rates)
        elif self._shown:
            place = {"step", "epoch", "minutes", "split", "metrics", "nll"}
            numbers = {name: value for name, value in record.items() if name not in place}
            scores = numbers | record.get("metrics", {})
            told = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
            self._console.print(
                f"[bold]{_clock(record['minutes'])}[/]  step {record['step']:,}  validation: {told}"
            )

    def on_samples(self, samples: list[Sample]) -> None:
        """What the model makes of a few validation texts."""
        if not self._shown or not samples:
            return
        table = Table(box=None, padding=(0, 2, 0, 4), header_style="dim")
        for heading in ("source", "output", "reference"):
            table.add_column(heading, overflow="fold")
        for sample in samples:  # as text: brackets in a sample are no markup
            table.add_row(
                Text(sample.source), Text(sample.output), Text(sample.reference, style="dim")
            )
        self._console.print(table)

    def on_end(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def _clock(minutes: float) -> str:
    seconds = round(60 * minutes)
    hours, minutes = seconds // 3600, seconds // 60
    if hours:
        return f"{hours}:{minutes % 60:02d}:{seconds % 60:02d}"
    return f"{minutes}:{seconds % 60:02d}"
