"""`sublayer predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of [generation], such as beam=1."),
    ] = None,
    input: Annotated[
        Path | None, typer.Option(help="Inputs, one a line; stdin by default.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Where answers go; stdout by default. Vectors: .npy or JSON lines."),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, help="Answers to an input, with scores.")] = 1,
    beam: Annotated[int | None, typer.Option(min=1, help="The same as beam=N.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Use a model for what it was trained for, a line for a line.

    \b
    echo hello | sublayer predict runs/pronounce
    sublayer predict runs/pronounce --input words.txt --output phonemes.txt beam=5
    sublayer predict runs/pronounce --n-best 3 < words.txt
    echo "def main" | sublayer predict runs/code temperature=0.8 top_p=0.95 seed=1
    echo "Paris is the <mask> of France" | sublayer predict runs/masked --n-best 5
    """
    from sublayer.cli.answers import shown_as, write_vectors
    from sublayer.cli.progress import rows_bar
    from sublayer.config.files import atomic_write, read_changes
    from sublayer.data.files import lines, text_lines
    from sublayer.training.run import load_predictor

    predictor = load_predictor(run, read_changes(changes or [], beam=beam), device=device)
    texts = list(text_lines(sys.stdin.buffer, "stdin") if input is None else lines(str(input)))
    if len(texts) == 1 and output is None and n_best == 1 and not json and sys.stdout.isatty():
        for piece in predictor.stream(texts[0]):
            print(piece, end="", flush=True)
        print()
        return
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, len(texts))

    with rows_bar("predicting") as progress:
        found = predictor.results(texts, n_best, advance)
    if predictor.shortened:
        print(f"sublayer: too long and cut: {predictor.shortened} inputs", file=sys.stderr)
    if output is not None and output.suffix == ".npy":
        write_vectors(found, output)
        return
    show = shown_as(output, json=json)
    content = "".join(map(show, range(len(texts)), texts, found))
    if output is None:
        sys.stdout.write(content)
    else:
        atomic_write(output, content)
