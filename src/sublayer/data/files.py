"""Reading text files: plain or gzip, strict UTF-8; every error names the file and the line."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase, BytesIO
from pathlib import Path, PurePath

WILD = re.compile(r"[*?\[]")
"""What makes a path a glob, if there is no file of that very name."""


@contextmanager
def opened(file: str) -> Iterator[BufferedIOBase]:
    """The bytes of `file`, unpacked if its name ends in `.gz`.

    Raises:
        ValueError: there is no such file, it is empty, or it is damaged gzip.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"there is no file {file} (seen from {Path.cwd()}): correct its path")
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


def whole(file: str) -> str:
    r"""All text of `file`, its lines ended by `\n`.

    Raises:
        ValueError: as `lines`.
    """
    with opened(file) as stream:
        content = stream.read()
    if not content:
        raise empty(file)
    text = "\n".join(text_lines(BytesIO(content), file))
    return f"{text}\n" if content.endswith(b"\n") else text


def found(named: str | Sequence[str], patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and name of each file that is meant by paths, folders and globs, in order.

    A folder is searched through for `patterns`. A name is the path below the folder or the fixed
    part of the glob, so it is the same wherever that lies. Whether a file that is given by its
    path exists is found out by reading it.

    Raises:
        ValueError: a folder or a glob has no such file.
    """
    for path in [named] if isinstance(named, str) else named:
        home = Path(path)
        if home.is_dir():
            files = [file for pattern in patterns for file in home.rglob(pattern)]
            missing = f"there is no {' or '.join(patterns)} file in the folder {path}"
        elif WILD.search(path) and not home.exists():
            parts = PurePath(path).parts
            fixed = next(i for i, part in enumerate(parts) if WILD.search(part))
            home = Path(*parts[:fixed])
            files = list(home.glob(str(PurePath(*parts[fixed:]))))
            missing = f"no file matches {path} (seen from {Path.cwd()})"
        else:
            yield path, home.name
            continue
        files = sorted({file for file in files if file.is_file()})
        if not files:
            raise ValueError(f"{missing}: correct the path in [data]")
        for file in files:
            yield str(file), file.relative_to(home).as_posix()


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
    return ValueError(f"{file} is empty: give a file with text")
