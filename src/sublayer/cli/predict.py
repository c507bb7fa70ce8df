"""`sublayer predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sublayer.cli.loading import load_answers, loading


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of [generation], such as beam=1."),
    ] = None,
    input: Annotated[
        Path | None, typer.Option(help="Inputs, one a line or JSON lines; stdin by default.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Where answers go; stdout by default. Vectors: .npy or JSON lines."),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, help="Answers to an input, with scores.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with OUTPUT.part.")] = False,
) -> None:
    """Use a model for what it was trained for, a line for a line.

    \b
    echo hello | sublayer predict runs/pronounce
    sublayer predict runs/pronounce --input words.txt --output phonemes.txt beam=5
    sublayer predict runs/pronounce --n-best 3 < words.txt
    echo "def main" | sublayer predict runs/code temperature=0.8 top_p=0.95 seed=1
    echo "Paris is the <mask> of France" | sublayer predict runs/masked --n-best 5
    """
    with loading():
        from sublayer.cli.answers import form_of
        from sublayer.cli.progress import rows_bar
        from sublayer.config.files import read_changes
        from sublayer.data.files import text_lines
        from sublayer.training.answering import Answering, Inputs, asked_of, shared
        from sublayer.training.target import Target

    target = Target.of(output, input)
    if resume and target.file is None:
        raise ValueError("--resume goes on with a file: name it with --output")
    with shared(target.file) as share:
        keys = read_changes(changes or [])
        inputs = Inputs.of_file(input) if input else Inputs(text_lines(sys.stdin.buffer, "stdin"))
        predictor = load_answers(run, keys, device=device, inputs=inputs.count or 1, n=n_best)
        if n_best == 1 and not json and target.is_terminal():
            inputs, only = inputs.if_one()
            if only is not None:
                _show(predictor.stream(only))
                return
        form = form_of(output, json=json, n=n_best, stream=target.file is None)
        with rows_bar("predicting", hidden=inputs.count is None or share.rank > 0) as progress:
            answering = Answering(predictor, form, n_best, progress)
            if target.file is None:
                with target.stream() as write:
                    answering.to_stream(inputs, write)
            else:
                asked = asked_of(run, keys) | {"json": json}
                answering.to_file(inputs, target.file, asked, resume=resume, share=share)
    if predictor.shortened:
        print(f"sublayer: too long and cut: {predictor.shortened} inputs", file=sys.stderr)


def _show(pieces: Iterator[str]) -> None:
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
