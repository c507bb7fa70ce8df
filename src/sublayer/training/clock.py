"""Time as the run saw it."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import final


@final
class Clock:
    """Minutes of training at the end of each step, written down one number a step.

    A run bounded in minutes has a learning rate that depends on time. A resumed run reads the
    recorded times until they end and then goes on counting from the last, so that it takes the very
    steps it would have taken.
    """

    def __init__(self, file: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._file, self._now = file, now
        data = file.read_bytes() if file.exists() else b""
        whole = len(data) // 8 * 8  # a number that was cut short was never used
        self._minutes = list(struct.unpack(f"<{whole // 8}d", data[:whole]))
        with file.open("wb") as out:
            out.write(data[:whole])
        self._out = file.open("ab", buffering=0)
        self._start = now()

    def begin(self) -> None:
        """Start counting: the next step begins now."""
        self._start = self._now()

    def tick(self, step: int) -> float:
        """Minutes at the end of step `step`, counted from 1."""
        if step > len(self._minutes):
            assert step == len(self._minutes) + 1
            minutes = (self._now() - self._start) / 60
            self._out.write(struct.pack("<d", minutes))
            self._minutes.append(minutes)
        else:  # taken before the run was stopped: time goes on from what was written then
            self._start = self._now() - 60 * self._minutes[step - 1]
        return self._minutes[step - 1]

    def close(self) -> None:
        """Release the file."""
        self._out.close()
