"""`sublayer compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sublayer.cli.loading import loading


def compare(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or one with a section [compare].")],
    out: Annotated[Path, typer.Option(help="The folder of the comparison, a run folder a seed.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE,...]...", help="Keys of the recipe and their values."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Of training, each run.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="In its place: '500 steps' or '1e15 FLOPs', each run.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each cell.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="What [compare.quick] says.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print comparison.json.")] = False,
) -> None:
    """Train every combination of values under one budget, and compare what they reach.

    \b
    sublayer compare recipes/pronounce.toml model.norm=pre,post --minutes 2 --seeds 3 --out norms
    sublayer compare recipes/pronounce.toml model.n_heads=1,2,4 model.d_ff=320,640 \\
        training.threads=1 --budget "1e14 FLOPs" --out widths
    sublayer compare recipes/compare/positions.toml --quick --out positions

    Commas part values, but not inside of quotes, brackets and braces: training.optimizer.betas=
    [0.9,0.98],[0.9,0.999] are two lists. A key with one value is changed everywhere. The same
    command goes on with what was stopped, and tries again what failed.

    The folder has comparison.md, comparison.json, metric.png and lengths.png.
    """
    with loading():
        from sublayer.cli.compared import Lines, print_compared
        from sublayer.cli.show import print_json
        from sublayer.config.comparison import Budget, read_comparison
        from sublayer.training.comparison import compare as start

    if minutes is not None and budget is not None:
        raise ValueError("--minutes and --budget are both a budget; give one of them")
    given = f"{minutes} minutes" if minutes is not None else budget
    comparison = read_comparison(
        recipe,
        changes or [],
        budget=None if given is None else Budget.parse(given),
        seeds=seeds,
        quick=quick,
    )
    found = start(comparison, out, Lines(out))
    if json:
        print_json(found.as_json())
    else:
        print_compared(found, out)
