"""The beginning of a file of answers, beside it, until the file is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, final

from sublayer.config.files import dump_json, load_object

PIECE = 1 << 20
"""Bytes copied at a time where parts become one file."""


@final
class Part:
    """Whole answers to the first inputs, in `file`, with a note of what they are answers to.

    `asked` is all that answers follow from but the inputs themselves, of which the note keeps a
    digest. The note is written after the answers it counts, so what lies behind those counted
    may be broken, and is cut off.
    """

    def __init__(self, file: Path, asked: Mapping[str, Any]) -> None:
        self.file, self.note = file, file.with_name(f"{file.name}.json")
        self.asked = dict(asked)
        self.inputs, self.size = 0, 0
        self._digest = sha256()

    def begin(self, texts: Iterator[str], *, resume: bool) -> None:
        """Make the file, or take up what is there: `texts` is moved behind the answered ones.

        Raises:
            ValueError: there is a part, but none to go on with, one of something else, or one
                whose note is damaged.
            OSError: it cannot be written.
        """
        if not self.file.exists():
            self._write_note()
            self.file.touch()
            return
        if not resume:
            raise ValueError(
                f"{self.file} holds answers of an interrupted run: add --resume, or remove it"
            )
        if not self.note.exists():
            raise ValueError(f"{self.file} has no {self.note.name} beside it: remove it")
        noted = self._noted()
        if noted.get("asked") != self.asked:
            raise ValueError(
                f"{self.file} was begun with another model or other options: give the same, "
                "or remove it"
            )
        for text in islice(texts, noted["inputs"]):
            self._count(text)
        if self._digest.hexdigest() != noted["digest"]:
            raise ValueError(
                f"{self.file} holds answers to another input: give the same, or remove it"
            )
        self.size = noted["bytes"]
        if self.file.stat().st_size < self.size:
            raise ValueError(f"{self.file} is shorter than its note says: remove it")
        os.truncate(self.file, self.size)

    def _noted(self) -> dict[str, Any]:
        noted = load_object(self.note)
        counts = noted.get("inputs"), noted.get("bytes")
        if (
            "asked" not in noted
            or not isinstance(noted.get("digest"), str)
            or not all(type(count) is int and count >= 0 for count in counts)
        ):
            raise ValueError(f"{self.note} is damaged: remove it and {self.file.name}")
        return noted

    def append(self, texts: Sequence[str], content: bytes) -> None:
        """Add the answers to further inputs; they are on the disk when this returns.

        Raises:
            OSError: they cannot be written; the file stays as it was.
        """
        try:
            with self.file.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            os.truncate(self.file, self.size)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(self.file)) from error
            raise
        for text in texts:
            self._count(text)
        self.size += len(content)
        self._write_note()

    def remove(self) -> None:
        """Take the file and its note away."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _count(self, text: str) -> None:
        self.inputs += 1
        self._digest.update(text.encode() + b"\0")

    def _write_note(self) -> None:
        noted = {"inputs": self.inputs, "bytes": self.size, "digest": self._digest.hexdigest()}
        dump_json({"asked": self.asked} | noted, self.note)


def join(files: Sequence[Path], output: Path, head: bytes) -> None:
    """Put files one behind another, with `head` before them, to `output`; they stay.

    Raises:
        OSError: it cannot be written.
    """
    beside = output.with_name(f".{output.name}.partial")
    try:
        with beside.open("wb") as whole:
            whole.write(head)
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, whole, PIECE)
            whole.flush()
            os.fsync(whole.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    beside.replace(output)
