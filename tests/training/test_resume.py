"""A run that was stopped, however and whenever, goes on to the very same end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sublayer.training import start
from sublayer.training.callbacks import Listener, Sample
from sublayer.training.clock import Clock
from sublayer.training.every import Moment
from sublayer.training.log import read_records
from sublayer.training.start import train

TIMES = {"minutes", "tokens_per_second"}


class Stopped(BaseException):
    """As sudden as it gets without ending the tests."""


class StopAfter(Listener):
    """Ends the run at the n-th thing it hears of."""

    def __init__(self, n: int) -> None:
        self.left = n

    def _hear(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stopped

    def on_step(self, moment: Moment) -> None:
        self._hear()

    def on_record(self, record: dict[str, Any]) -> None:
        self._hear()

    def on_samples(self, samples: list[Sample]) -> None:
        self._hear()

    def on_end(self) -> None:
        pass


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def tensors(folder: Path) -> dict[str, bytes]:
    last = sorted((folder / "checkpoints").glob("step-*"))[-1]
    files = [
        folder / "model.safetensors",
        last / "model.safetensors",
        last / "optimizer.safetensors",
    ]
    return {file.name + str(i): file.read_bytes() for i, file in enumerate(files)}


def assert_same_run(a: Path, b: Path) -> None:
    assert records(a) == records(b)
    assert tensors(a) == tensors(b)


@pytest.mark.parametrize("seed", range(5))
def test_resumed_run_is_bit_identical(make_recipe, tmp_path, seed):
    recipe = make_recipe("training.accumulate=2", "model.norm=pre")
    train(recipe, tmp_path / "whole")
    rng = random.Random(seed)
    for stop in (rng.randint(1, 25), rng.randint(1, 15)):
        with pytest.raises(Stopped):
            train(recipe, tmp_path / "parts", resume=True, listeners=[StopAfter(stop)])
    train(recipe, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("seed", range(5))
def test_stopped_while_writing(make_recipe, tmp_path, monkeypatch, seed):
    recipe = make_recipe()
    train(recipe, tmp_path / "whole")
    left, replace = random.Random(seed).randint(1, 40), os.replace

    def replace_or_stop(a: Any, b: Any, **rest: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped
        replace(a, b, **rest)

    monkeypatch.setattr(os, "replace", replace_or_stop)
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "parts", resume=True)
    monkeypatch.undo()
    train(recipe, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.fixture
def _a_second_a_step(monkeypatch) -> None:
    """Time that passes by itself, so that two runs bounded in minutes can be compared."""

    def ticking(file: Path) -> Clock:
        seconds = count()
        return Clock(file, now=lambda: float(next(seconds)))

    monkeypatch.setattr(start, "Clock", ticking)


@pytest.mark.usefixtures("_a_second_a_step")
def test_run_bounded_in_minutes_keeps_its_clock(make_recipe, tmp_path):
    """The learning rate follows the time of the first try, not that of the second."""
    recipe = make_recipe("training.steps=1000", "training.minutes=0.5")
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "parts", listeners=[StopAfter(20)])
    train(recipe, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    minutes = [record["minutes"] for record in read_records(tmp_path / "parts" / "metrics.jsonl")]
    assert minutes == sorted(minutes)
    assert minutes[-1] == pytest.approx(0.5)


@pytest.mark.usefixtures("_a_second_a_step")
def test_clock_goes_on_when_no_step_followed_the_checkpoint(make_recipe, tmp_path):
    """Stopped in the validation behind a checkpoint: nothing is there to be replayed."""

    class StopInValidation(StopAfter):
        def on_step(self, moment: Moment) -> None:
            pass

        def on_record(self, record: dict[str, Any]) -> None:
            if record["split"] == "valid":
                self._hear()

    recipe = make_recipe("training.steps=1000", "training.minutes=0.5", "training.evaluate=7 steps")
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "parts", listeners=[StopInValidation(2)])
    train(recipe, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_kill_9(recipe_file, make_recipe, tmp_path):
    recipe = make_recipe("training.steps=60")
    train(recipe, tmp_path / "whole")
    command = [
        sys.executable,
        "-m",
        "sublayer",
        "train",
        str(recipe_file),
        "training.steps=60",
        "--out",
    ]
    command += [str(tmp_path / "parts"), "--resume"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment)
    log, deadline = tmp_path / "parts" / "metrics.jsonl", time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and log.stat().st_size > 300):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_finished_run_is_left_alone(make_recipe, tmp_path):
    recipe = make_recipe("training.steps=5")
    report = train(recipe, tmp_path / "run")
    before = tensors(tmp_path / "run")
    assert train(recipe, tmp_path / "run", resume=True) == report
    assert tensors(tmp_path / "run") == before
