"""The command `sublayer`: its verbs, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from sublayer.cli.compare import compare
from sublayer.cli.convert import convert
from sublayer.cli.estimate import estimate
from sublayer.cli.evaluate import evaluate
from sublayer.cli.inspect import inspect
from sublayer.cli.predict import predict
from sublayer.cli.quantize import quantize
from sublayer.cli.train import train
from sublayer.config.errors import sentence

Verb = Callable[..., None]
VERBS: list[Verb] = [train, evaluate, predict, inspect, estimate, compare, convert, quantize]
"""In the order of `--help`; they import what is heavy when called, so that help is quick."""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)
for verb in VERBS:
    app.command()(verb)


def _show_version(wanted: bool) -> bool:
    if wanted:
        from importlib import metadata  # it reads half of the library for mail

        typer.echo(f"sublayer {metadata.version('sublayer')}")
        raise typer.Exit
    return wanted


SHOWN = typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit.")
ShowVersion = Annotated[bool, SHOWN]


@app.callback()
def sublayer(version: ShowVersion = False) -> None:
    """Train, evaluate, use and look inside Transformers.

    \b
    sublayer train recipes/pronounce.toml --out runs/pronounce  learn from data
    sublayer evaluate runs/pronounce                            measure
    echo hello | sublayer predict runs/pronounce                text in, text out
    sublayer inspect runs/pronounce hello --out attention.png   look inside
    sublayer estimate recipes/pronounce.toml                    cost, beforehand
    sublayer compare recipes/compare/scores.toml --out scores   one budget, many designs
    sublayer convert opus-mt-en-de runs/en-de --verify          from and to transformers
    sublayer quantize runs/pronounce runs/small                 weights of fewer bits

    Each verb has its own --help. SUBLAYER_DEBUG=1 shows an error's traceback.
    """


def main() -> int:
    """Run the command and return its exit status.

    An error that the user can mend is told in a sentence on stderr, with status 2; Ctrl-C is 130.
    """
    try:
        app(prog_name="sublayer")
    except (ValueError, OSError, MemoryError) as error:
        if os.environ.get("SUBLAYER_DEBUG") == "1":
            raise
        print(f"sublayer: {sentence(error)}", file=sys.stderr)
        return 2
    except SystemExit as end:
        if end.code == 130:
            print("sublayer: interrupted", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    raise AssertionError("a typer application ends by SystemExit")
