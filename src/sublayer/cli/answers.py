"""What `sublayer predict` writes."""

from __future__ import annotations

from io import BytesIO
from json import dumps
from pathlib import Path

from sublayer.data.result import Result
from sublayer.training.answering import Form


def form_of(output: Path | None, *, json: bool, n: int = 1, stream: bool = False) -> Form:
    """How answers are written: as the file is called, a matrix of vectors or JSON lines; as text.

    JSON lines also if they are asked for. `n` answers are asked for, and go to a file or a stream.

    Raises:
        ValueError: a matrix is to go to a stream.
    """
    suffix = "" if output is None else output.suffix
    if suffix == ".npy":
        if stream:
            raise ValueError(f"{output} is no regular file, as a matrix needs: leave .npy out")
        return Form(as_vector, matrix_head)
    if json or suffix == ".jsonl":
        return Form(as_json)
    return Form(as_text if n == 1 else as_list)


def as_text(number: int, text: str, found: list[Result]) -> bytes:
    """The answer as it is."""
    return "".join(f"{answer.text}\n" for answer in found).encode()


def as_list(number: int, text: str, found: list[Result]) -> bytes:
    """Each answer with line number, numbers and answer, also where only one was found."""
    rows = []
    for answer in found:
        numbers = [f"{value:.4f}" for value in answer.fields.values() if isinstance(value, float)]
        rows.append("\t".join([str(number), *numbers, answer.text]) + "\n")
    return "".join(rows).encode()


def as_json(number: int, text: str, found: list[Result]) -> bytes:
    """The input with all answers, as one line of JSON."""
    record = {"line": number, "input": text, "outputs": [answer.fields for answer in found]}
    return (dumps(record, ensure_ascii=False) + "\n").encode()


def as_vector(number: int, text: str, found: list[Result]) -> bytes:
    """A row of a matrix.

    Raises:
        ValueError: the model gives no vectors.
    """
    import numpy as np

    if "vector" not in found[0].fields:
        raise ValueError("this model gives no vectors; write a text file, not .npy")
    return np.array(found[0].fields["vector"], "<f4").tobytes()


def matrix_head(rows: int, size: int) -> bytes:
    """What a NumPy file has before its rows, of `size` bytes together."""
    import numpy as np

    shape = (rows, size // 4 // max(rows, 1))
    head = BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, description)
    return head.getvalue()
