"""`sublayer convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sublayer.cli.loading import loading


def convert(
    source: Annotated[
        Path, typer.Argument(help="A run, a Hugging Face folder or name, a file of word vectors.")
    ],
    target: Annotated[Path, typer.Argument(help="The new folder, or file.")],
    to: Annotated[
        Literal["huggingface", "sublayer", "ctranslate2", "vec"],
        typer.Option(help="The form to write."),
    ] = "sublayer",
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare what both forms give, and fail if it differs.")
    ] = False,
    pickle: Annotated[
        bool, typer.Option("--pickle", help="Read a pytorch_model.bin, tensors and nothing else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Turn a model of transformers into one of ours, ours into theirs, or either for CTranslate2.

    \b
    sublayer convert opus-mt-en-de runs/en-de --verify
    sublayer convert runs/language exported --to huggingface --verify
    sublayer convert old-folder new-folder --to huggingface --pickle
    sublayer convert runs/en-de deployed --to ctranslate2 --verify
    sublayer convert runs/words words.vec --to vec
    sublayer convert glove.6B.100d.txt runs/glove

    --verify runs both on the same random inputs, layer for layer, and fails where they differ by
    more than 0.0001; with CTranslate2, log-probabilities by 0.001, and greedy texts token by token.
    """
    with loading():
        from sublayer.cli.show import print_json
        from sublayer.cli.tables import plain_table
        from sublayer.models.huggingface import read_pickle, read_safetensors
        from sublayer.training.convert import convert as start
        from sublayer.training.convert import differences

    network, theirs = start(source, target, to, read_pickle if pickle else read_safetensors)
    found = differences(network, theirs) if verify else []
    if json:
        layers = {difference.layer: difference.largest for difference in found}
        print_json({"folder": str(target), "differences": layers})
    elif found:
        from rich.console import Console

        table = plain_table("layer", "largest |difference|")
        for difference in found:
            table.add_row(difference.layer, f"{difference.largest:.2e}")
        Console().print(table)
    worst = max(found, key=lambda difference: difference.largest, default=None)
    if worst is not None and worst.is_mistake:
        peer = "CTranslate2" if to == "ctranslate2" else "transformers"
        raise ValueError(
            f"{worst.layer} differs from {peer} by {worst.largest:.2e}, more than {worst.most}; "
            f"do not use {target}"
        )
    if not json:
        print(f"model in {target}")
