"""Where answers go: to a file that is whole at the end, or to a pipe as they come."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

STDIN, STDOUT = 0, 1
"""Numbers of open files, as the system counts them."""


@final
@dataclass(frozen=True)
class Target:
    """`file` is to be replaced when all is answered; else answers go to `pipe`, else to stdout."""

    file: Path | None = None
    pipe: Path | None = None

    @classmethod
    def of(cls, output: Path | None, source: Path | None) -> Target:
        """What an output is; inputs come from the file `source`, or from stdin.

        Raises:
            ValueError: it can be neither replaced nor written to, or is the source.
            OSError: it cannot be looked at.
        """
        if output is None:
            return cls()
        there = _status(output)
        if there and stat.S_ISREG(there.st_mode):
            read = _status(STDIN if source is None else source)
            if read and os.path.samestat(there, read):
                raise ValueError(f"{output} is both input and output: name another with --output")
        written = _status(STDOUT)
        if there and written and os.path.samestat(there, written):
            return cls()  # as /dev/stdout is: the shell may have opened it to add to it
        if is_pipe(output):
            return cls(pipe=output)
        return cls(file=replaceable(output))

    def is_terminal(self) -> bool:
        """Whether somebody looks on."""
        return self.file is None and self.pipe is None and sys.stdout.isatty()

    @contextmanager
    def stream(self) -> Iterator[Callable[[bytes], object]]:
        """What writes to the pipe or to stdout.

        Raises:
            OSError: it cannot be written.
        """
        if self.pipe is None:
            yield lambda content: sys.stdout.write(content.decode())
            return
        number = os.open(self.pipe, os.O_WRONLY | os.O_APPEND)  # neither made nor emptied

        def write(content: bytes) -> None:
            left = memoryview(content)
            try:
                while left:
                    left = left[os.write(number, left) :]
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.pipe)) from error

        try:
            yield write
        finally:
            os.close(number)


def is_pipe(path: Path) -> bool:
    """Whether what is there is read or written piece by piece: a pipe, a terminal, /dev/null.

    So are the numbers of open files, as /dev/fd/3, whatever they are open for.
    """
    there = _status(path)
    if there is None:
        return False
    if path.parent.resolve().match("/proc/*/fd"):
        return not stat.S_ISDIR(there.st_mode)
    return stat.S_ISFIFO(there.st_mode) or stat.S_ISCHR(there.st_mode)


def replaceable(output: Path) -> Path:
    """The file an output means, behind all links: one that is there, or can be made.

    Raises:
        ValueError: something else is there, which a file must not replace.
    """
    there = _status(output)
    if there and stat.S_ISDIR(there.st_mode):
        raise ValueError(f"the output {output} is a folder: name a file in it with --output")
    if there and not stat.S_ISREG(there.st_mode):
        raise ValueError(
            f"the output {output} is no file that can be replaced: "
            "name another, or leave --output out and send stdout there"
        )
    return output.resolve()


def _status(what: Path | int) -> os.stat_result | None:
    """What a path or the number of an open file leads to; None where that is nothing."""
    with suppress(FileNotFoundError):
        if isinstance(what, Path):
            return what.stat()
        with suppress(OSError):  # it was closed before we began
            return os.fstat(what)
    return None
