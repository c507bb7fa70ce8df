"""A model at work in several processes, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, final

import torch

from sublayer.tasks import Predictor, Result
from sublayer.tasks.base import Progress
from sublayer.training.run import load_predictor

WORTH = 100
"""Inputs a process from which on several are faster than one."""
ERRORS = (ValueError, OSError, MemoryError, RuntimeError)
"""What an input or the machine may be the cause of; all else is a mistake of ours."""
Member = tuple[BaseProcess, Connection]
"""A copy, and this process's end of the line to it."""


@final
class Team(Predictor):
    """Inputs shared by processes that are copies of this one, made when there is enough to do.

    Threads of one process wait for one another at each of a step's hundred small products, and all
    but one have nothing to do between them. Processes wait for nobody, and a copy shares the memory
    of the weights. They end with this one.
    """

    def __init__(self, alone: Predictor, processes: int) -> None:
        super().__init__(alone.network, alone.vocabulary)
        self.alone, self.processes = alone, processes
        self.members: list[Member] = []

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` best answers to each input, best first; fewer where there are no more.

        Raises:
            ValueError: an input or an option is wrong.
            OSError: a process was killed.
            RuntimeError: there is a mistake in it.
        """
        count = min(self.processes, len(inputs) // WORTH)
        if count < 2:
            self.alone.first, before = self.first, self.alone.shortened
            found = self.alone.results(inputs, n, progress)
            self.shortened += self.alone.shortened - before
            return found
        while len(self.members) < count:
            self.members.append(_hire(self.alone))
        try:
            return self._gathered(inputs, n, progress, self.members[:count])
        except BaseException:
            self._dismiss()  # they are still at work on what nobody waits for any more
            raise

    def _gathered(
        self, inputs: Sequence[str], n: int, progress: Progress | None, members: Sequence[Member]
    ) -> list[list[Result]]:
        bounds = [len(inputs) * i // len(members) for i in range(len(members) + 1)]
        own = {ends: place for place, (_, ends) in enumerate(members)}
        for ends, place in own.items():
            begin, end = bounds[place], bounds[place + 1]
            with suppress(BrokenPipeError):  # it was killed, which is told where it is heard
                ends.send((inputs[begin:end], n, self.first + begin))
        shares: list[list[list[Result]]] = [[] for _ in own]
        waiting = set(own)
        while waiting:
            ready = wait(waiting)
            for ends in waiting.intersection(ready):
                told = _heard(ends)
                if isinstance(told, int):
                    if progress is not None:
                        progress(told)
                    continue
                shares[own[ends]], shortened = told
                self.shortened += shortened
                waiting.remove(ends)
        return [found for share in shares for found in share]

    def _dismiss(self) -> None:
        for process, ends in self.members:
            process.kill()
            ends.close()
        for process, _ in self.members:
            process.join()
        self.members = []

    def stream(self, text: str) -> Iterator[str]:
        """The best answer piece by piece, by this process."""
        return self.alone.stream(text)


def load_team(
    folder: Path, changes: Mapping[str, Any], *, device: str = "auto", inputs: int = 1
) -> Predictor:
    """The model of a folder as `load_predictor` gives it, ready for many inputs."""
    return team(load_predictor(folder, changes, device=device, inputs=inputs))


def team(alone: Predictor) -> Predictor:
    """The predictor, in as many processes as it asks for or as there are threads.

    Raises:
        ValueError: it asks for several, and this system makes no copies of a process.
    """
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    processes = alone.processes
    if processes > 1 and not can_fork:
        raise ValueError("this system has no fork: give workers=1, or start several by torchrun")
    if not processes:
        on_cpu = all(p.device.type == "cpu" for p in alone.network.parameters())
        processes = torch.get_num_threads() if on_cpu and can_fork else 1
    return Team(alone, processes) if processes > 1 else alone


def _hire(predictor: Predictor) -> Member:
    """A copy of this process that answers until its end of the line is closed."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    # its library of tokenizers says on every fork that it will use one thread, unless that is set
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    process = context.Process(target=_serve, args=(predictor, theirs, ours), daemon=True)
    process.start()
    if before is None:
        del os.environ["TOKENIZERS_PARALLELISM"]
    else:
        os.environ["TOKENIZERS_PARALLELISM"] = before
    theirs.close()
    return process, ours


def _heard(ends: Connection) -> Any:
    """What a process says: rows that are done, or all it found and how many inputs it cut.

    Raises:
        ValueError: an input or an option is wrong.
        OSError: the process was killed.
        RuntimeError: there is a mistake in it; where, is noted with it.
    """
    try:
        told = ends.recv()
    except (EOFError, ConnectionError):
        raise OSError(
            "a process that answered was killed, perhaps for want of memory: "
            "give workers=1 or a smaller batch_tokens"
        ) from None
    if isinstance(told, Exception):
        raise told
    return told


def _serve(predictor: Predictor, ends: Connection, others: Connection) -> None:
    """What the copy does. Ctrl-C is for the first process, which ends this one."""
    others.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with suppress(EOFError, ConnectionError):  # nobody asks any more
        while True:
            inputs, n, predictor.first = ends.recv()
            before = predictor.shortened
            try:
                found = predictor.results(inputs, n, ends.send)
                ends.send((found, predictor.shortened - before))
            except Exception as error:
                ends.send(_told(error))


def _told(error: Exception) -> Exception:
    """The same as one of ERRORS: others may need more than a message to be made again."""
    kind = next((kind for kind in ERRORS if isinstance(error, kind)), None)
    if kind:
        told: Exception = kind(str(error))
    else:
        told = RuntimeError(f"{type(error).__name__}: {error}")
    lines = "".join(traceback.format_exception(error))
    told.add_note(f"In a process that answered:\n{lines}")
    return told
