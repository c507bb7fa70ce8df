"""What `sublayer predict` writes."""

from __future__ import annotations

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
    np.save(content, np.array([row[0].fields["vector"] for row in found], np.float32))
    atomic_write(file, content.getvalue())


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
