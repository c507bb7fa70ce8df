"""What `sublayer predict` writes."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from json import dumps
from pathlib import Path

from sublayer.config.files import atomic_write
from sublayer.tasks import Result


def write_vectors(found: list[list[Result]], file: Path) -> None:
    """One row of a NumPy matrix for each input.

    Raises:
        ValueError: the model gives no vectors.
    """
    import numpy as np

    if not all("vector" in row[0].fields for row in found):
        raise ValueError(f"{file}: this model gives no vectors; write a text file")
    content = BytesIO()
    rows = [row[0].fields["vector"] for row in found]
    np.save(content, np.array(rows, np.float32) if rows else np.empty((0, 0), np.float32))
    atomic_write(file, content.getvalue())


def shown_as(output: Path | None, *, json: bool) -> Callable[[int, str, list[Result]], str]:
    """How answers are written: JSON lines if that is asked for, or the file is called so."""
    return as_json if json or (output is not None and output.suffix == ".jsonl") else as_text


def as_text(number: int, text: str, found: list[Result]) -> str:
    """The answer as it is; of several, each with line number, numbers and answer."""
    if len(found) == 1:
        return f"{found[0].text}\n"
    rows = []
    for answer in found:
        numbers = [f"{value:.4f}" for value in answer.fields.values() if isinstance(value, float)]
        rows.append("\t".join([str(number), *numbers, answer.text]) + "\n")
    return "".join(rows)


def as_json(number: int, text: str, found: list[Result]) -> str:
    """The input with all answers, as one line of JSON."""
    record = {"line": number, "input": text, "outputs": [answer.fields for answer in found]}
    return dumps(record, ensure_ascii=False) + "\n"
