"""`sublayer quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sublayer.cli.loading import loading

if TYPE_CHECKING:
    from sublayer.training.quantize import Measured


def quantize(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    target: Annotated[Path, typer.Argument(help="The new folder.")],
    weights: Annotated[
        Literal["int8", "int8-weights", "int4", "bfloat16"],
        typer.Option(help="int8 has inputs of products in eight bits too."),
    ] = "int8",
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="The data to measure on.")
    ] = "valid",
    data: Annotated[
        list[str] | None, typer.Option(help="Files in place of the test data, to measure on.")
    ] = None,
    measure: Annotated[
        bool, typer.Option(help="Measure quality and speed of both, on this machine.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give a model weights of fewer bits, and show what that costs and gains here.

    \b
    sublayer quantize runs/de runs/de-int8
    sublayer quantize runs/de runs/de-int4 --weights int4 --split test

    The new folder is used as any run: `sublayer predict runs/de-int8`.
    """
    with loading():
        from sublayer.cli.show import print_json
        from sublayer.training.quantize import quantize_and_measure, quantize_run

    found: tuple[Measured, ...] = ()
    if measure:
        found = quantize_and_measure(run, target, weights, split, data or [])
    else:
        quantize_run(run, target, weights)
    if json:
        print_json({"folder": str(target), "runs": [one.as_json() for one in found]})
        return
    if found:
        _print(*found)
    print(f"model in {target}")


def _print(before: Measured, after: Measured) -> None:
    from rich.console import Console

    from sublayer.cli.tables import plain_table

    both = (before, after)
    table = plain_table("", before.name, after.name)
    table.add_row("MB", *(f"{one.megabytes:,.1f}" for one in both))
    if before.rate is not None and after.rate is not None:
        table.add_row(before.unit, f"{before.rate:,.0f}", f"{after.rate:,.0f}")
    for name in before.metrics:
        table.add_row(name, *(f"{one.metrics[name].value:.4g}" for one in both))
    Console().print(table)
    if before.rate and after.rate and after.rate < before.rate:
        ratio = after.rate / before.rate
        print(f"{after.name} is slower here: {ratio:.2f} times the rate before")
