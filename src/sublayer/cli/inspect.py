"""`sublayer inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sublayer.cli.loading import loading


def inspect(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    text: Annotated[str, typer.Argument(help="What the model is to read.")],
    out: Annotated[Path, typer.Option(help="Picture (.png, .svg) or page (.html).")],
    target: Annotated[
        str | None, typer.Option(help="What it is to write; its own output by default.")
    ] = None,
) -> None:
    """Look inside a model: where it looks while it writes, in every layer and head.

    \b
    sublayer inspect runs/pronounce transformer --out attention.png
    sublayer inspect runs/de "A dog runs." --target "Ein Hund rennt." --out attention.html
    """
    with loading():
        from sublayer.lens.attention import cross_attention
        from sublayer.lens.report import check_kind, draw
        from sublayer.models.base import as_encoder_decoder
        from sublayer.tasks.seq2seq import TextToText
        from sublayer.training.run import load_predictor

    check_kind(out)
    predictor = load_predictor(run, device="cpu")
    if not isinstance(predictor, TextToText):
        raise ValueError(f"{run} is no model from text to text, so it has no alignment to draw")
    output = predictor([text])[0] if target is None else target
    draw(
        cross_attention(as_encoder_decoder(predictor.network), predictor.tokenizers, text, output),
        out,
    )
    print(f"{text} -> {output}\n{out}")
