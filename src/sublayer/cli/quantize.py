"""`sublayer quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


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
    from sublayer.cli.show import print_json
    from sublayer.cli.tables import plain_table
    from sublayer.training.quantize import measure as measured
    from sublayer.training.quantize import quantize_run

    quantize_run(run, target, weights)
    found = []
    if measure:
        found = [
            measured(folder, name, split, data or [])
            for folder, name in ((run, "before"), (target, weights))
        ]
    if json:
        runs = {
            one.name: {
                "megabytes": one.megabytes,
                one.unit: one.rate,
                "metrics": {name: score.value for name, score in one.metrics.items()},
            }
            for one in found
        }
        print_json({"folder": str(target), "runs": runs})
        return
    if found:
        from rich.console import Console

        before, after = found
        table = plain_table("", "MB", before.unit, *before.metrics)
        for one in found:
            values = (f"{score.value:.4g}" for score in one.metrics.values())
            table.add_row(one.name, f"{one.megabytes:,.1f}", f"{one.rate:,.0f}", *values)
        Console().print(table)
        if after.rate < before.rate:
            print(f"{weights} is slower here: {after.rate / before.rate:.2f} times the rate before")
    print(f"model in {target}")
