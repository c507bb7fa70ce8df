"""A comparison on the terminal: which run is at work, and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import final

from rich.console import Console
from rich.text import Text

from sublayer.cli.tables import plain_table
from sublayer.training.compared import Compared
from sublayer.training.comparison import Watcher

WIDE = 400


@final
class Lines(Watcher):
    """A line on stderr for each run, if that is a terminal; failures always."""

    def __init__(self, folder: Path) -> None:
        self._console, self._folder = Console(stderr=True), folder

    def on_run(self, number: int, of: int, cell: str, seed: int) -> None:
        """Which it is."""
        if self._console.is_terminal:
            self._console.print(Text(f"[{number}/{of}] {cell}, seed {seed}", style="bold"))

    def on_failure(self, cell: str, seed: int, error: str) -> None:
        """Which it was, and why."""
        self._console.print(Text(f"{cell}, seed {seed} failed: {error}"), soft_wrap=True)

    def on_stop(self) -> None:
        """How to go on."""
        if self._console.is_terminal:
            self._console.show_cursor(True)  # a bar that was killed had taken it away
        self._console.print(
            Text(f"stopped; the same command goes on with {self._folder}"), soft_wrap=True
        )


def print_compared(found: Compared, folder: Path) -> None:
    """The table, the first metric by length, and where all of it lies."""
    console = Console()
    if not console.is_terminal:  # lines of a file may be long
        console = Console(width=WIDE)
    for (headings, rows), title in (
        (found.rows(), f"{found.split} data, {found.budget} for each run"),
        (found.length_rows(), f"\n{found.metric} by tokens of the source"),
    ):
        if rows:
            console.print(Text(title))
            table = plain_table(*headings)
            for row in rows:
                table.add_row(*map(Text, row))
            console.print(table)
    print(f"comparison in {folder / 'comparison.md'}, pictures beside it")
