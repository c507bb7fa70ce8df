"""`sublayer predict`."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sublayer.generation.predict import Prediction


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    input: Annotated[Path | None, typer.Option(help="Texts, one a line; stdin by default.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where outputs go, one a line; stdout by default.")
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="In place of the recipe's; 1 is greedy.")
    ] = None,
    n_best: Annotated[
        int, typer.Option(min=1, help="Outputs a text, with score and log-probability.")
    ] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Use a model: text in, text out, a line for a line.

    \b
    echo hello | sublayer predict runs/pronounce
    sublayer predict runs/pronounce --input words.txt --output phonemes.txt --beam 5
    sublayer predict runs/pronounce --n-best 3 < words.txt
    """
    from sublayer.cli.progress import rows_bar
    from sublayer.config.files import atomic_write
    from sublayer.data.files import lines, text_lines
    from sublayer.training.run import load_predictor

    predictor = load_predictor(run, beam=beam, device=device)
    texts = list(text_lines(sys.stdin.buffer, "stdin") if input is None else lines(str(input)))
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, len(texts))

    with rows_bar("predicting") as progress:
        found = predictor.n_best(texts, n_best, advance)
    if predictor.shortened:
        print(
            f"sublayer: cut to {predictor.max_source} tokens: {predictor.shortened} texts",
            file=sys.stderr,
        )
    show = _as_json if json else _as_text
    content = "".join(map(show, range(len(texts)), texts, found))
    if output is None:
        sys.stdout.write(content)
    else:
        atomic_write(output, content)


def _as_text(number: int, text: str, found: list[Prediction]) -> str:
    """The outputs on a line each; of several, with line number, score and log-probability."""
    lines = [" ".join(f.text.splitlines()) for f in found]
    if len(found) == 1:
        return f"{lines[0]}\n"
    scores = (f"{number}\t{f.score:.4f}\t{f.logprob:.4f}\t" for f in found)
    return "".join(f"{score}{line}\n" for score, line in zip(scores, lines, strict=True))


def _as_json(number: int, text: str, found: list[Prediction]) -> str:
    outputs = [{"text": f.text, "score": f.score, "logprob": f.logprob} for f in found]
    return dumps({"line": number, "input": text, "outputs": outputs}, ensure_ascii=False) + "\n"
