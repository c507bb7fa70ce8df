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
        self._now = now
        self._out = file.open("ab", buffering=0)
        data = file.read_bytes()
        whole = len(data) // 8
        self._out.truncate(8 * whole)  # a number that was cut short was never used
        self._minutes = list(struct.unpack(f"<{whole}d", data[: 8 * whole]))
        self._start = now()

    def begin(self, step: int, minutes: float) -> None:
        """Start counting: step `step` ended at `minutes`, and the next begins now."""
        for _ in range(step - len(self._minutes)):  # lost, as in a power cut: of no more use
            self._write(minutes)
        self._start = self._now() - 60 * minutes

    def tick(self, step: int) -> float:
        """Minutes at the end of step `step`, counted from 1."""
        if step > len(self._minutes):
            assert step == len(self._minutes) + 1
            self._write((self._now() - self._start) / 60)
        else:  # taken before the run was stopped: time goes on from what was written then
            self._start = self._now() - 60 * self._minutes[step - 1]
        return self._minutes[step - 1]

    def _write(self, minutes: float) -> None:
        self._out.write(struct.pack("<d", minutes))
        self._minutes.append(minutes)

    def close(self) -> None:
        """Release the file."""
        self._out.close()
