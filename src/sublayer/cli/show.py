"""Results on stdout: tables for people, JSON for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from sublayer.cli.confusion import print_confusion
from sublayer.cli.tables import plain_table
from sublayer.training.evaluate import Evaluation


def print_json(value: Any) -> None:
    """One JSON object."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_report(report: dict[str, Any], folder: Path) -> None:
    """What a training reached and where it lies."""
    table = plain_table("", "")
    table.add_row("steps", f"{report['steps']:,}")
    table.add_row("epochs", f"{report['epochs']:.1f}")
    table.add_row("minutes", f"{report['minutes']:.1f}")
    table.add_row("parameters", f"{report['parameters']:,}")
    table.add_row("model", report["chosen"])
    if report["began_anew"]:
        table.add_row("began anew", ", ".join(report["began_anew"]))
    if "vectors" in report:
        table.add_row("words with vectors", "{found:,} of {of:,}".format(**report["vectors"]))
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
    print_confusion(console, outcome.confusion)
