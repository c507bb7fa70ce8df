"""`sublayer estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sublayer.training.estimate import Estimate


def estimate(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe given another value."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a run will cost, before its first step.

    \b
    sublayer estimate recipes/pronounce.toml
    sublayer estimate recipes/pronounce.toml model.size=base training.batch_tokens=8192

    Parameters by part, operations a token, memory, and the time on this machine, from a
    sample of the data and a few steps of training.
    """
    from sublayer.cli.show import print_json
    from sublayer.config.files import load_recipe
    from sublayer.training.estimate import estimate as compute

    result = compute(load_recipe(recipe, changes or []))
    if json:
        print_json(result.as_json())
    else:
        print_estimate(result)


def print_estimate(e: Estimate) -> None:
    """Parameters by part, operations, memory and time."""
    from rich.console import Console

    from sublayer.cli.tables import plain_table

    console = Console()
    unit = "target token" if e.target_tokens else "token"
    table = plain_table("part", "parameters", "MFLOPs an example")
    for part in e.count.parts:
        shared = f" (+ {part.shared:,} of the {part.shared_with})" if part.shared else ""
        table.add_row(part.name, f"{part.parameters:,}{shared}", f"{part.flops / 1e6:,.2f}")
    table.add_row(
        "all", f"{e.count.parameters:,}", f"{sum(p.flops for p in e.count.parts) / 1e6:,.2f}"
    )
    console.print(table)
    target = f" + {e.target_tokens:.1f}" if e.target_tokens else ""
    console.print(
        f"\n{e.examples:,} training examples of {e.source_tokens:.1f}{target} tokens on average"
    )
    console.print(
        f"per {unit}: {e.count.forward / 1e6:,.1f} MFLOPs forward, "
        f"{e.count.training / 1e6:,.1f} in training\n"
    )
    table = plain_table("memory of a training step", "MiB")
    for name in ("weights", "gradients", "moments", "activations", "loss", "total"):
        table.add_row(name, f"{getattr(e.training, name) / 2**20:,.1f}")
    console.print(table)
    if e.decoding is not None:
        source = f", {e.decoding.per_source_token:,} a source token" if e.target_tokens else ""
        console.print(
            "state while decoding, each hypothesis: "
            f"{e.decoding.per_target_token:,} bytes a {unit}{source}\n"
        )
    console.print(
        f"here: {e.tokens_per_second:,.0f} {unit}s/s, "
        f"{e.minutes:,.1f} min for {e.epochs:,.1f} epochs"
    )
