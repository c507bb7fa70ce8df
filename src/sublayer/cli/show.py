"""Results on stdout: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sublayer.training.evaluate import Evaluation

WIDE = 12
"""Labels that fit across a terminal."""


def print_json(value: Any) -> None:
    """One JSON object."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def plain_table(*headings: str) -> Table:
    """A table without lines; all columns but the first are numbers."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right")
    return table


def print_report(report: dict[str, Any], folder: Path) -> None:
    """What a training reached and where it lies."""
    table = plain_table("", "")
    table.add_row("steps", f"{report['steps']:,}")
    table.add_row("epochs", f"{report['epochs']:.1f}")
    table.add_row("minutes", f"{report['minutes']:.1f}")
    table.add_row("parameters", f"{report['parameters']:,}")
    table.add_row("model", report["chosen"])
    for name, value in report["validation"][report["chosen"]].items():
        if isinstance(value, float):
            table.add_row(f"validation {name}", f"{value:.4f}")
    Console().print(table)
    print(f"model in {folder}, curves in {folder / 'curves.png'}")


def print_evaluation(result: Evaluation) -> None:
    """Scores with their signatures, then by source length."""
    console = Console()
    outcome = result.outcome
    told = [f"{result.split}: {outcome.rows:,} rows", outcome.setting, f"{result.seconds:.1f} s"]
    console.print(", ".join(filter(None, told)))
    table = plain_table("metric", "value")
    table.add_column("signature", style="dim", overflow="fold")
    for name, score in outcome.metrics.items():
        table.add_row(name, f"{score.value:.4g}", score.signature)
    console.print(table)
    for name, buckets in outcome.buckets.items():
        console.print(f"\n{name} by source length")
        table = plain_table("tokens", "rows", name)
        for bucket in buckets:
            table.add_row(f"{bucket.low}-{bucket.high}", f"{bucket.rows:,}", f"{bucket.value:.4g}")
        console.print(table)
    if outcome.confusion:
        print_confusion(console, outcome.confusion)


def print_confusion(console: Console, confusion: Mapping[str, Mapping[str, int]]) -> None:
    """What was said of the rows of each label; of many labels, the mistakes that are most often."""
    if len(confusion) <= WIDE:
        console.print("\nrows of a label (down) by what the model said (across)")
        table = plain_table("", *confusion)
        for label, said in confusion.items():
            table.add_row(label, *(f"{said.get(other, 0):,}" for other in confusion))
    else:
        console.print("\nmost frequent mistakes")
        table = plain_table("label", "rows", "said instead")
        mistakes = [
            (count, label, other)
            for label, said in confusion.items()
            for other, count in said.items()
            if other != label
        ]
        for count, label, other in sorted(mistakes, key=lambda m: (-m[0], m[1:]))[:WIDE]:
            table.add_row(label, f"{count:,}", other)
    console.print(table)
