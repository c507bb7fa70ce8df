"""Answers by several processes are those of one, in order; what goes wrong in one is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from sublayer.tasks import Predictor, Result, Vocabulary
from sublayer.training import team as module
from sublayer.training.team import Team, team

INPUTS = [f"text {i}" for i in range(11)]


class Says(Predictor):
    """Says each input and its number; counts those that end in 3 as cut."""

    def __init__(self, *, wrong: str = "", dies: bool = False, processes: int = 0) -> None:
        super().__init__(nn.Linear(1, 1), Vocabulary())
        self.wrong, self.dies, self.processes = wrong, dies, processes

    def results(self, inputs, n=1, progress=None):
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.wrong in inputs:
            raise ValueError(f"'{self.wrong}' is wrong")
        self.shortened += sum(text.endswith("3") for text in inputs)
        if progress is not None:
            for _ in inputs:
                progress(1)
        return [
            [Result(f"{text} {number} {k}", {"process": os.getpid()}) for k in range(n)]
            for number, text in enumerate(inputs, self.first)
        ]


@pytest.fixture(autouse=True)
def worth(monkeypatch):
    monkeypatch.setattr(module, "WORTH", 3)


def said(found):
    return [[result.text for result in results] for results in found]


def test_answers_are_those_of_one_in_order():
    alone, several = Says(), Team(Says(), 3)
    alone.first = several.first = 40
    for _ in range(2):  # the same processes answer again
        done = []
        found = several.results(INPUTS, 2, done.append)
        assert said(found) == said(alone.results(INPUTS, 2))
        assert sum(done) == len(INPUTS)
    others = {results[0].fields["process"] for results in found}
    assert len(others) == 3
    assert os.getpid() not in others
    assert several.shortened == alone.shortened == 2


def test_few_inputs_are_answered_here():
    several = Team(Says(), 3)
    several.first = 5
    (only,) = several.results(INPUTS[:1])
    assert only == [Result("text 0 5 0", {"process": os.getpid()})]
    assert not several.members


def test_as_many_as_have_enough_to_do_and_cuts_add_up():
    several = Team(Says(), 8)
    assert said(several.results(INPUTS)) == said(Says().results(INPUTS))
    assert len(several.members) == len(INPUTS) // module.WORTH == 3
    several.results(INPUTS[3:4])  # here
    assert several.shortened == 2


def test_an_error_that_a_message_does_not_make_is_told():
    class Reads(Says):
        def results(self, inputs, n=1, progress=None):
            b"\xff".decode()

    with pytest.raises(ValueError, match="can't decode byte 0xff"):
        Team(Reads(), 2).results(INPUTS)


def test_a_wrong_input_is_told_and_the_others_go_on():
    several = Team(Says(wrong="text 7"), 2)
    with pytest.raises(ValueError, match="'text 7' is wrong"):
        several.results(INPUTS)
    assert said(several.results(INPUTS[:7])) == said(Says().results(INPUTS[:7]))


def test_a_process_that_was_killed_is_told():
    with pytest.raises(OSError, match="workers=1 or a smaller batch_tokens"):
        Team(Says(dies=True), 2).results(INPUTS)


@pytest.mark.parametrize("sends", [False, True])
def test_a_mistake_of_ours_is_told_as_one_with_its_traceback(sends):
    class Errs(Says):
        def results(self, inputs, n=1, progress=None):
            if sends:  # what no line between processes takes
                return [[Result("", {"score": lambda: None})] for _ in inputs]
            return {}["key"]

    several = Team(Errs(), 2)
    told = "pickle|local object" if sends else "^KeyError: 'key'"
    with pytest.raises(RuntimeError, match=told) as caught:
        several.results(INPUTS)
    (note,) = caught.value.__notes__
    assert note.startswith("In a process that answered:\nTraceback")
    assert sends or "in results" in note
    assert not several.members


@pytest.mark.parametrize(("asked", "threads", "expected"), [(0, 1, 1), (0, 2, 2), (1, 2, 1)])
def test_how_many(asked, threads, expected):
    torch.set_num_threads(threads)
    try:
        made = team(Says(processes=asked))
    finally:
        torch.set_num_threads(1)
    assert (made.processes if isinstance(made, Team) else 1) == expected


def test_one_where_no_process_can_be_copied(monkeypatch):
    monkeypatch.setattr(module.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert not isinstance(team(Says()), Team)
    with pytest.raises(ValueError, match="no fork"):
        team(Says(processes=2))


SLEEPER = """
import sys, time
from tests.training.test_team import Says
from sublayer.training.team import Team, WORTH

class Sleeps(Says):
    def results(self, inputs, n=1, progress=None):
        progress(1)
        time.sleep(3)

def told(rows):
    print(*(process.pid for process, _ in several.members), flush=True)

several = Team(Sleeps(), 2)
several.results(["text"] * 2 * WORTH, 1, told)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_first(how):
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
    ) as first:
        assert first.stdout is not None
        others = [int(pid) for pid in first.stdout.readline().split()]
        first.send_signal(how)
        first.wait(10)
    end = time.monotonic() + 20
    while any(map(is_alive, others)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, others))


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
