"""What a classifier takes for what, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from sublayer.cli.tables import plain_table

WIDE = 12
"""Labels that fit across a terminal."""


def confusion_table(confusion: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows of each label by what was said of them; of many labels, the most frequent mistakes."""
    if len(confusion) <= WIDE:
        table = plain_table("label, and what was said", *confusion)
        for label, said in confusion.items():
            table.add_row(label, *(f"{said.get(other, 0):,}" for other in confusion))
        return table
    table = plain_table("label", "rows", "said instead")
    mistakes = [
        (count, label, other)
        for label, said in confusion.items()
        for other, count in said.items()
        if other != label
    ]
    for count, label, other in sorted(mistakes, key=lambda m: (-m[0], m[1:]))[:WIDE]:
        table.add_row(label, f"{count:,}", other)
    return table


def print_confusion(console: Console, confusion: Mapping[str, Mapping[str, int]]) -> None:
    """The table under its heading; nothing where there are no labels."""
    if confusion:
        few = len(confusion) <= WIDE
        console.print("\nrows by label" if few else "\nmost frequent mistakes")
        console.print(confusion_table(confusion))
