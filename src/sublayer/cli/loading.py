"""Importing what a verb needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sublayer.training.answering import Answers


@contextmanager
def loading() -> Iterator[None]:
    """Nobody looks for garbage among what is imported here, now or later: all of it stays.

    PyTorch comes as some million objects, and looking through them takes a third of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_answers(
    folder: Path, changes: Mapping[str, Any], *, device: str = "auto", inputs: int = 1, n: int = 1
) -> Answers:
    """The model of a folder or of a name on the hub, without PyTorch if that is possible.

    `inputs` is how many it is to answer, if that is known, and `n` with how many answers each.

    Raises:
        ValueError: the folder is no model, not finished, or damaged, or a key is wrong.
    """
    with loading():
        from sublayer.training.planned import load_planned
    planned = load_planned(folder, changes, device=device, inputs=inputs, n=n)
    if planned is not None:
        return planned
    with loading():
        from sublayer.training.team import load_team
    return load_team(folder, changes, device=device, inputs=inputs)
