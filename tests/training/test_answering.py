"""Files of any size answered: in order, in memory that stays, gone on with, shared."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from sublayer.cli.answers import form_of
from sublayer.tasks import Predictor, Result, Vocabulary
from sublayer.training import answering
from sublayer.training.answering import Answering, Inputs, Share


class Says(Predictor):
    """Says the input and its number; stopped after `stop` calls."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__(nn.Identity(), Vocabulary())
        self.stop, self.calls = stop, 0

    def results(self, inputs, n=1, progress=None):
        if self.calls == self.stop:
            raise KeyboardInterrupt
        self.calls += 1
        if progress is not None:
            progress(len(inputs))
        return [
            [
                Result(f"{text}\n{i}", {"score": float(i), "vector": [i, k]})
                for k in range(n if i % 3 else 1)
            ]
            for i, text in enumerate(inputs, self.first)
        ]


@pytest.fixture(autouse=True)
def chunk(monkeypatch):
    monkeypatch.setattr(answering, "CHUNK", 4)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"line {i}\n" for i in range(18)))
    return path


def run(file: Path, output: Path, *, n: int = 1, stop: int | None = None, **given) -> bytes:
    asked = {"model": "m"} | given.pop("asked", {})
    worker = Answering(Says(stop), form_of(output, json=False), n)
    worker.to_file(Inputs.of_file(file), output, asked, **given)
    return output.read_bytes() if output.exists() else b""


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", ["out.txt", "out.jsonl", "out.npy"])
def test_an_interruption_leaves_a_prefix_and_resume_ends_with_the_same_bytes(
    file, tmp_path, name, n
):
    whole = run(file, tmp_path / f"whole-{name}", n=n)
    pieces = []
    Answering(Says(), form_of(tmp_path / name, json=False), n).to_stream(
        Inputs.of_file(file), pieces.append
    )
    assert whole.endswith(b"".join(pieces))
    for stop in range(5):
        output = tmp_path / f"{stop}-{name}"
        with pytest.raises(KeyboardInterrupt):
            run(file, output, n=n, stop=stop)
        part = output.with_name(f"{output.name}.part")
        assert not output.exists()
        assert part.exists() == (stop > 0)
        if stop:
            assert part.read_bytes() == b"".join(pieces[:stop])
            with part.open("ab") as stream:
                stream.write(b"half an ans")  # as a power cut would leave it
            with pytest.raises(ValueError, match="add --resume, or remove it"):
                run(file, output, n=n)
        assert run(file, output, n=n, resume=True) == whole
        assert not list(tmp_path.glob("*.part*"))


def test_a_matrix_is_what_numpy_writes(file, tmp_path):
    run(file, tmp_path / "out.npy")
    expected = np.array([[i, 0] for i in range(18)], np.float32)
    np.save(tmp_path / "numpy.npy", expected)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_only_the_same_is_gone_on_with(file, tmp_path):
    output = tmp_path / "out.txt"
    with pytest.raises(KeyboardInterrupt):
        run(file, output, stop=2)
    for wrong in ({"asked": {"model": "other"}}, {"n": 2}):
        with pytest.raises(ValueError, match="another model or other options"):
            run(file, output, resume=True, **wrong)
    with pytest.raises(ValueError, match="another number of processes"):
        run(file, output, resume=True, share=Share(0, 2))
    other = tmp_path / "other.txt"
    other.write_text(file.read_text().replace("line 7", "line seven"))
    with pytest.raises(ValueError, match="answers to another input"):
        run(other, output, resume=True)
    other.write_text(file.read_text().replace("line 8", "line eight"))  # not answered so far
    assert b"line eight" in run(other, output, resume=True)


def test_a_file_ten_times_as_long_takes_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "CHUNK", 200)
    peaks = []
    for lines in (2_000, 2_000, 20_000):  # the first also imports
        file = tmp_path / f"{lines}.txt"
        file.write_text("".join(f"line {i}\n" for i in range(lines)))
        worker = Answering(Says(), form_of(tmp_path / "out.jsonl", json=False))
        tracemalloc.start()
        worker.to_file(Inputs.of_file(file), tmp_path / "out.jsonl", {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def test_shares_are_all_inputs_in_whole_chunks():
    for processes in (1, 2, 3, 7):
        for count in (0, 1, 4, 17, 40):
            shares = [Share(rank, processes).of(count) for rank in range(processes)]
            assert [first for first, _ in shares[1:]] == [behind for _, behind in shares[:-1]]
            assert (shares[0][0], shares[-1][1]) == (0, count)
            assert all(first % 4 == 0 or first == count for first, _ in shares)


def test_json_lines_are_inputs_of_several_lines(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps({"text": "def f():\n    pass"}) + '\n"two"\n""\n')
    assert list(Inputs.of_file(file).texts) == ["def f():\n    pass", "two", ""]
    for line in ("word", "3", '{"input": "a"}', '"\\ud800"'):
        file.write_text(f'"good"\n{line}\n')
        with pytest.raises(ValueError, match=r"in\.jsonl:2 is no input as JSON"):
            list(Inputs.of_file(file).texts)


def test_an_error_in_a_later_chunk_says_where(file, tmp_path):
    class Fails(Says):
        def results(self, inputs, n=1, progress=None):
            if self.first == 4:
                raise ValueError("prompt 1 is empty")
            return super().results(inputs, n, progress)

    worker = Answering(Fails(), form_of(None, json=False))
    with pytest.raises(ValueError, match="inputs from 5 on: prompt 1 is empty"):
        worker.to_stream(Inputs.of_file(file), lambda content: None)


def test_a_damaged_note_is_told(file, tmp_path):
    output = tmp_path / "out.txt"
    with pytest.raises(KeyboardInterrupt):
        run(file, output, stop=2)
    note = tmp_path / "out.txt.part.json"
    whole = json.loads(note.read_text())
    for key, value in [("inputs", None), ("inputs", -1), ("bytes", "8"), ("digest", 3)]:
        note.write_text(json.dumps({**whole, key: value}))
        with pytest.raises(ValueError, match=r"json is damaged: remove it and out\.txt\.part$"):
            run(file, output, resume=True)
    for key in whole:
        note.write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        with pytest.raises(ValueError, match="is damaged"):
            run(file, output, resume=True)
    note.write_text(json.dumps(whole))
    assert run(file, output, resume=True)


def test_a_link_stays_and_a_folder_is_found_at_the_start(file, tmp_path):
    link, aim = tmp_path / "link.txt", tmp_path / "there" / "aim.txt"
    aim.parent.mkdir()
    link.symlink_to(aim)
    whole = run(file, link)
    assert link.is_symlink()
    assert aim.read_bytes() == whole != b""
    with pytest.raises(ValueError, match="is a folder"):
        run(file, aim.parent, stop=0)
    assert not list(tmp_path.glob("*.part*"))


def test_of_some_answers_each_is_numbered_even_where_there_is_but_one():
    found = [Result("a", {"score": 0.5})]
    assert form_of(None, json=False, n=3).show(7, "", found) == b"7\t0.5000\ta\n"
    assert form_of(None, json=False).show(7, "", found) == b"a\n"
