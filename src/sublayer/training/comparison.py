"""Every cell of a comparison, trained and measured under one budget."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sublayer.config.comparison import Cell, Comparison
from sublayer.config.files import atomic_write, dump_json
from sublayer.training.cell import split_of
from sublayer.training.compared import Compared, compared, markdown
from sublayer.training.comparison_files import PLAN, RESULT, read_plan
from sublayer.training.comparison_pictures import draw_lengths, draw_metric
from sublayer.training.prepare import check_keys, check_measures
from sublayer.training.start import differences

WAIT = 5.0
"""Seconds that a process which lost its parent is given to notice."""


class Watcher(ABC):
    """Abstract. Hears how a comparison goes."""

    @abstractmethod
    def on_run(self, number: int, of: int, cell: str, seed: int) -> None:
        """Before each run; `number` counts from 1."""

    @abstractmethod
    def on_failure(self, cell: str, seed: int, error: str) -> None:
        """After a run that failed."""

    @abstractmethod
    def on_stop(self) -> None:
        """When Ctrl-C ends it."""


def compare(comparison: Comparison, root: Path, watcher: Watcher) -> Compared:
    """Train every cell with every seed into `root`, measure them, and write what was found.

    One run at a time, first all cells with the first seed. Finished runs are not done again, one
    that was stopped goes on, and one that fails is tried again the next time.

    Raises:
        ValueError: a cell's recipe is wrong, `root` is another comparison or in use, or every
            run failed.
    """
    check(comparison)
    with _alone(root) as lock:
        try:
            _claim(comparison, root)
            return _train(comparison, root, watcher, lock)
        except KeyboardInterrupt:
            watcher.on_stop()
            raise


def _train(comparison: Comparison, root: Path, watcher: Watcher, lock: int) -> Compared:
    """All runs, one after another; what is done so far is written after each."""
    errors: dict[tuple[str, int], str] = {}
    runs = [(c, seed) for seed in range(comparison.seeds) for c in comparison.cells]
    found = _write(comparison, root, errors)
    for number, (cell, seed) in enumerate(runs):
        own = cell.recipe.seed + seed
        if (root / cell.folder / f"seed-{own}" / RESULT).exists():
            continue
        watcher.on_run(number + 1, len(runs), cell.name, own)
        if error := _run(root, cell.folder, seed, lock):
            errors[cell.folder, own] = error
            watcher.on_failure(cell.name, own, error)
        found = _write(comparison, root, errors)
    if not any(cell.runs for cell in found.cells):
        raise ValueError(f"no run succeeded; the first failed: {next(iter(errors.values()))}")
    return found


def check(comparison: Comparison) -> None:
    """That every cell is a recipe that can be trained, as far as that is known beforehand.

    Raises:
        ValueError: one is not; the message begins with the cell's name.
    """
    for cell in comparison.cells:
        recipe = cell.recipe
        try:
            check_measures(recipe)
            if recipe.model.start is None:
                check_keys(recipe)
            if comparison.split is None:
                split_of(recipe)
        except ValueError as error:
            raise ValueError(f"cell '{cell.name}': {error}") from None


def _plan(comparison: Comparison) -> dict[str, Any]:
    """All that decides what comes out, as JSON."""
    return {
        "budget": str(comparison.budget),
        "seeds": comparison.seeds,
        "split": comparison.split,
        "cells": {c.folder: _described(c) for c in comparison.cells},
    }


def _described(cell: Cell) -> dict[str, Any]:
    recipe = cell.recipe.model_dump(mode="json", exclude_none=True, by_alias=True)
    return {"name": cell.name, "recipe": recipe}


def _claim(comparison: Comparison, root: Path) -> None:
    """Make the folder a comparison's, or find that it is this one's."""
    file, ours = root / PLAN, json.loads(json.dumps(_plan(comparison)))
    if not file.exists():
        dump_json(ours, file)
        return
    theirs = read_plan(root)
    if theirs["cells"].keys() != ours["cells"].keys():
        raise ValueError(
            f"{root} is a comparison of other cells ({', '.join(list(theirs['cells'])[:3])}, ...); "
            "give another --out"
        )
    if differing := differences(ours, theirs):
        raise ValueError(
            f"{root} is another comparison ({'; '.join(differing[:3])}); give another --out"
        )


def _check_folder(root: Path) -> None:
    """That there is a comparison or nothing: in what is somebody else's no lock is left."""
    if not root.exists() or (root / PLAN).exists():
        return
    if not root.is_dir():
        raise ValueError(f"{root} is a file; give another --out")
    if any(not path.name.startswith(".") for path in root.iterdir()):
        raise ValueError(f"{root} is not empty and is no comparison; give another --out")


@contextmanager
def _alone(root: Path) -> Iterator[int]:
    """Hold the folder; a process that is given the lock holds it too, until both have ended."""
    _check_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("wb") as file:
        until = time.monotonic() + WAIT
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ValueError(
                        f"another process is at work in {root}; wait for it, or give another --out"
                    ) from None
                time.sleep(0.1)
        yield file.fileno()


def _run(root: Path, cell: str, seed: int, lock: int) -> str | None:
    """One run in a process of its own; what went wrong."""
    command = [sys.executable, "-m", "sublayer.training.cell", str(root), cell, str(seed)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(lock,)
    ) as process:
        try:
            # not communicate(), which would close stdin, by which the process knows that we live
            assert process.stdout is not None
            told = process.stdout.read()
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status == 0:
        return None
    lines = told.strip().splitlines()
    if lines and lines[-1].startswith('{"error"'):
        return str(json.loads(lines[-1])["error"])
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; the system may have had no memory left" if status == -signal.SIGKILL else ""
        return f"the process was ended by {name}{hint}"
    return f"the process ended with status {status}"


def _write(comparison: Comparison, root: Path, errors: Mapping[tuple[str, int], str]) -> Compared:
    """Tables and pictures of what is done by now."""
    found = compared(comparison, root, errors)
    dump_json(found.as_json(), root / "comparison.json")
    pictures: list[Path | None] = []
    if any(cell.runs for cell in found.cells):
        pictures = [draw_metric(found, root), draw_lengths(found, root)]
    drawn = [picture for picture in pictures if picture is not None]
    atomic_write(root / "comparison.md", markdown(found, drawn))
    return found
