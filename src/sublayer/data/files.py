"""Reading text files: plain or gzip, strict UTF-8; every error names the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path


@contextmanager
def opened(file: str) -> Iterator[BufferedIOBase]:
    """The bytes of `file`, unpacked if its name ends in `.gz`.

    Raises:
        ValueError: there is no such file, it is empty, or it is damaged gzip.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(
            f"there is no file {file} (seen from {Path.cwd()}): correct its path in [data]"
        )
    if path.stat().st_size == 0:
        raise empty(file)
    try:
        with path.open("rb") as plain:
            yield gzip.GzipFile(fileobj=plain) if path.suffix == ".gz" else plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{file} is damaged or no gzip file ({error}): fetch it or pack it again"
        ) from error


def lines(file: str) -> Iterator[str]:
    r"""The lines of `file` without their ends, `\n` or `\r\n`; no other character ends a line.

    Raises:
        ValueError: as `opened`, or a line is not UTF-8 text, or there is none.
    """
    with opened(file) as stream:
        number = 0
        for number, line in enumerate(text_lines(stream, file), 1):  # noqa: B007  counted for what follows
            yield line
    if number == 0:
        raise empty(file)


def text_lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines of an open stream, called `name` in errors.

    Raises:
        ValueError: a line is not UTF-8 text.
    """
    for number, line in enumerate(stream, 1):
        if b"\0" in line:
            raise ValueError(
                f"{name}:{number} has a zero byte, so this is not UTF-8 text: give a text file"
            )
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name}:{number} is not UTF-8 (byte {error.start + 1} of the line): "
                f"convert the file with 'iconv -f ENCODING -t UTF-8'"
            ) from error
        yield text.removesuffix("\n").removesuffix("\r")


def empty(file: str) -> ValueError:
    """The error for a file without any text."""
    return ValueError(f"{file} is empty: give a file with text, or take it out of [data]")
