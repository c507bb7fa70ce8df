"""`sublayer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sublayer.cli.loading import loading


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="The run's own data.")
    ] = "test",
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Files in place of the test data, of the same kind (repeat: source, references)."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Keys of [generation], such as beam=1; of [evaluation] as evaluation.KEY=VALUE.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the model's outputs here, one a line.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="The same as beam=N.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model: scores with their signatures, and by source length.

    \b
    sublayer evaluate runs/pronounce
    sublayer evaluate runs/pronounce --beam 1
    sublayer evaluate runs/de --data test.en --data test.de --json
    sublayer evaluate runs/words evaluation.similarity=SimLex-999.txt
    """
    with loading():
        from sublayer.cli.progress import rows_bar
        from sublayer.cli.show import print_evaluation, print_json
        from sublayer.config.files import atomic_write, read_changes
        from sublayer.training.evaluate import evaluate as measure

    with rows_bar("decoding") as progress:
        result = measure(
            run,
            split,
            data or [],
            changes=read_changes(changes or [], beam=beam),
            device=device,
            progress=progress,
        )
    if output is not None:
        atomic_write(output, "".join(f"{text}\n" for text in result.outcome.outputs))
    if json:
        print_json(result.as_json())
    else:
        print_evaluation(result)
