"""`metrics.jsonl`: what a run measured, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from sublayer.config.files import atomic_write


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a log; a line that a kill cut short is left out."""
    if not file.exists():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


@final
class Log:
    """Appends records, each flushed, so that a killed run leaves all but at most one line."""

    def __init__(self, file: Path, step: int) -> None:
        """Go on at `step`: records of it and of later ones come again, so they are cut off."""
        kept = "".join(json.dumps(r) + "\n" for r in read_records(file) if r["step"] < step)
        atomic_write(file, kept)
        self._out = file.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
        self._out.write(json.dumps(record) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Release the file."""
        self._out.close()
