"""`sublayer train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sublayer.cli.loading import loading


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    out: Annotated[Path, typer.Option(help="The run folder: all there is to the model.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe given another value."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped run was.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a model: raw text in, a run folder out.

    \b
    sublayer train recipes/pronounce.toml --out runs/pronounce
    sublayer train recipes/pronounce.toml training.minutes=1 model.size=small --out runs/try
    sublayer train recipes/pronounce.toml --out runs/pronounce --resume

    The recipe's header says what it needs and what to expect. A run that was stopped, in
    whatever way, goes on with --resume as if nothing had happened.
    """
    with loading():
        from sublayer.cli.show import print_json, print_report
        from sublayer.config.files import load_recipe
        from sublayer.training.display import Display
        from sublayer.training.start import train as start

    report = start(load_recipe(recipe, changes or []), out, resume=resume, listeners=[Display()])
    if json:
        print_json(report)
    else:
        print_report(report, out)
