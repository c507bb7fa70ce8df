"""`sublayer estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sublayer.cli.loading import loading


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
    with loading():
        from sublayer.cli.costs import print_estimate
        from sublayer.cli.show import print_json
        from sublayer.config.files import load_recipe
        from sublayer.training.estimate import estimate as compute

    result = compute(load_recipe(recipe, changes or []))
    if json:
        print_json(result.as_json())
    else:
        print_estimate(result)
