"""Answers to inputs without end: read in chunks, written as each is done, shared by processes."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sublayer.data.files import lines, opened, text_lines
from sublayer.data.result import Result
from sublayer.training.part import Part, join
from sublayer.training.target import is_pipe, replaceable

CHUNK = 2_000
"""Inputs answered at a time: enough for full batches of like length, few enough for any memory."""
ONLY_HOW = {"batch_tokens", "workers"}
"""Keys of [generation] that say how answers are come by, not what they are."""
PATIENCE = timedelta(days=30)
"""How long a process waits for the others: their shares may take longer than its own by much."""


@runtime_checkable
class Answers(Protocol):
    """What answers: a `tasks.Predictor`, or one that does without PyTorch."""

    first: int
    """The number of the first input in what all are part of."""
    shortened: int
    """Inputs that were too long and cut, so far."""

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Callable[[int], None] | None = None
    ) -> list[list[Result]]:
        """The `n` best answers to each input, best first; fewer where there are no more."""

    def stream(self, text: str) -> Iterator[str]:
        """The best answer piece by piece."""


@dataclass(frozen=True)
class Form:
    """How answers are written."""

    show: Callable[[int, str, list[Result]], bytes]
    """Number, input and answers -> what is written of them."""
    head: Callable[[int, int], bytes] = lambda rows, size: b""
    """Numbers of inputs and of bytes -> what stands before all the answers."""


@dataclass(frozen=True)
class Inputs:
    """Texts, read once, and how many there are, if that can be known."""

    texts: Iterator[str]
    count: int | None = None

    @classmethod
    def of_file(cls, file: Path) -> Inputs:
        """The lines of a file; of JSON lines (`.jsonl`) the strings, or the "text" of objects.

        A pipe is read as it comes, so how many there are is not known.

        Raises:
            ValueError: the file is not there, or a line is wrong, when it is read.
        """
        count = None
        if is_pipe(file):
            texts = _piped(file)
        else:
            with opened(str(file)) as stream:
                count = sum(1 for _ in stream)
            texts = lines(str(file))
        if file.name.removesuffix(".gz").endswith(".jsonl"):
            texts = (_text(line, f"{file}:{i}") for i, line in enumerate(texts, 1))
        return cls(texts, count)

    def if_one(self) -> tuple[Inputs, str | None]:
        """The same, still to be read, and the text if there is but one."""
        begin = list(islice(self.texts, 2))
        again = Inputs(chain(begin, self.texts), self.count)
        return again, begin[0] if len(begin) == 1 else None


@dataclass(frozen=True)
class Share:
    """Which of the processes that work together this is."""

    rank: int = 0
    processes: int = 1

    def of(self, count: int) -> tuple[int, int]:
        """The first input and the one behind the last of this process's; chunks stay whole."""
        chunks = -(-count // CHUNK)
        first, behind = (
            chunks * rank // self.processes * CHUNK for rank in (self.rank, self.rank + 1)
        )
        return first, min(behind, count)

    def parts(self, output: Path) -> list[Path]:
        """Where the beginnings of all processes' answers lie."""
        if self.processes == 1:
            return [output.with_name(f"{output.name}.part")]
        names = (f"{output.name}.{i}-of-{self.processes}.part" for i in range(self.processes))
        return [output.with_name(name) for name in names]


@contextmanager
def shared(output: Path | None) -> Iterator[Share]:
    """This process among those that `torchrun` started; alone where it started none.

    Raises:
        ValueError: there are several, but no file to write.
    """
    share = Share(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    if share.processes == 1:
        yield share
        return
    if output is None:
        raise ValueError("several processes write a file: name it with --output")
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield share
    finally:
        distributed.destroy_process_group()


def weights_of(model: Path) -> list[list[Any]]:
    """The files of a folder that hold a model's weights, as they are now: name, size and time."""
    files = sorted(file for kind in ("safetensors", "bin") for file in model.glob(f"*.{kind}"))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def asked_of(model: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """What answers of the model of a folder follow from, where `keys` were given other values."""
    what = {key: value for key, value in keys.items() if key not in ONLY_HOW}
    return {"model": str(model.absolute()), "weights": weights_of(model), "keys": what}


@dataclass(frozen=True)
class Answering:
    """A model at work on inputs, `n` answers to each; `progress` hears how many are done of all."""

    predictor: Answers
    form: Form
    n: int = 1
    progress: Callable[[int, int | None], None] = lambda done, count: None

    def to_stream(self, inputs: Inputs, write: Callable[[bytes], object]) -> None:
        """Write the answers, in the order of the inputs, as each chunk is done."""
        for _, content in self._chunks(inputs.texts, 0, 0, inputs.count):
            write(content)

    def to_file(
        self,
        inputs: Inputs,
        output: Path,
        asked: dict[str, Any],
        *,
        resume: bool = False,
        share: Share | None = None,
    ) -> None:
        """Write the answers to a file, which is whole or not there; until then to a part beside it.

        `asked` says what the answers follow from. What an interruption leaves is whole answers to
        the first inputs; with `resume` it is gone on with, and the file becomes the same.

        Raises:
            ValueError: an input is wrong, what is there is no file, or the part that is there is
                none to go on with.
            OSError: it cannot be written.
        """
        share, output = share or Share(), replaceable(output)
        files = share.parts(output)
        _refuse_others(output, files)
        first, texts, count = 0, inputs.texts, inputs.count
        if share.processes > 1:
            if count is None:
                raise ValueError("several processes share a file: name one with --input, no pipe")
            first, behind = share.of(count)
            texts, count = islice(texts, first, behind), behind - first
        part = Part(files[share.rank], {**asked, "n": self.n, "chunk": CHUNK})
        part.begin(texts, resume=resume)
        try:
            for chunk, content in self._chunks(texts, first, part.inputs, count):
                part.append(chunk, content)
        except BaseException:
            if part.inputs == 0:
                part.remove()
            raise
        self._finish(part, files, output, share)

    def _finish(self, part: Part, files: list[Path], output: Path, share: Share) -> None:
        """Make the parts the one file, by the first process, when all are done."""
        rows = part.inputs
        if share.processes > 1:
            rows = _sum_of_all(part.inputs)
        if share.rank:
            return
        head = self.form.head(rows, sum(file.stat().st_size for file in files))
        if len(files) == 1 and not head:
            files[0].replace(output)
        else:
            join(files, output, head)
        for file in files:
            Part(file, {}).remove()

    def _chunks(
        self, texts: Iterator[str], first: int, done: int, count: int | None
    ) -> Iterator[tuple[list[str], bytes]]:
        """Inputs and what is written of them, chunk by chunk; `done` are so already."""
        told = done

        def advance(rows: int) -> None:
            nonlocal told
            told += rows
            self.progress(told, count)

        while chunk := list(islice(texts, CHUNK)):
            told, self.predictor.first = done, first + done
            try:
                found = self.predictor.results(chunk, self.n, advance)
            except ValueError as error:
                if not self.predictor.first:
                    raise
                raise ValueError(f"inputs from {first + done + 1} on: {error}") from error
            shown = map(
                self.form.show, range(first + done, first + done + len(chunk)), chunk, found
            )
            yield chunk, b"".join(shown)
            done += len(chunk)
        if not done:
            self.predictor.results([], self.n)  # wrong options are told of without inputs too


def _sum_of_all(number: int) -> int:
    """Of all processes, for which it waits."""
    import torch

    total = torch.tensor(number)
    torch.distributed.all_reduce(total)
    return int(total)


def _refuse_others(output: Path, own: list[Path]) -> None:
    """That no part is there of another number of processes.

    Raises:
        ValueError: one is.
    """
    name = glob.escape(output.name)
    there = {*output.parent.glob(f"{name}.part"), *output.parent.glob(f"{name}.*-of-*.part")}
    if others := sorted(there - set(own)):
        raise ValueError(
            f"{others[0]} was begun by another number of processes: "
            "go on with as many and --resume, or remove it"
        )


def _piped(file: Path) -> Iterator[str]:
    with file.open("rb") as stream:
        yield from text_lines(stream, str(file))


def _text(line: str, place: str) -> str:
    try:
        value = json.loads(line)
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise ValueError('it is neither a string nor an object with a "text"')
        text.encode()  # half a character can be written in JSON
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no input as JSON: {error}") from None
    return text
