"""`predict` on files: chunks do not show, an interruption is gone on with, processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from sublayer.training import answering, team
from sublayer.training.run import load_predictor

WORDS = ["abc", "b", "", "cab", "ab", "bacb", "ca", "a", "bb", "cba", "acab"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{word}\n" for word in WORDS))
    return path


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ([], ["--n-best", "2"]),
        (["beam=1"], []),
        (["temperature=1.5", "seed=4"], []),
        (["temperature=1.5", "seed=4"], ["--n-best", "2"]),
    ],
)
def test_chunks_do_not_show(sublayer, run, file, tmp_path, monkeypatch, keys, options):
    output = tmp_path / "out.txt"
    command = ("predict", run, *keys, *options, "--input", file, "--output", output)
    assert sublayer(*command) == (0, "", "")
    whole = output.read_text()
    monkeypatch.setattr(answering, "CHUNK", 3)
    assert sublayer(*command) == (0, "", "")
    assert output.read_text() == whole
    _, piped, _ = sublayer("predict", run, *keys, *options, stdin=file.read_bytes())
    assert piped == whole
    if not options:
        assert load_predictor(run, dict(key.split("=") for key in keys))(WORDS) == (
            whole.splitlines()
        )


@pytest.mark.parametrize("keys", [["beam=2"], ["temperature=1.5", "seed=4"]])
def test_several_processes_write_what_one_does(sublayer, run, tmp_path, monkeypatch, keys):
    monkeypatch.setattr(team, "WORTH", 4)
    file, (one, two) = tmp_path / "in.txt", (tmp_path / name for name in ("1.txt", "2.txt"))
    file.write_text("".join(f"{word}\n" for word in WORDS * 3) + "abc" * 200 + "\n")
    told = "sublayer: too long and cut: 1 inputs\n"
    for workers, output in ((1, one), (2, two)):
        command = ("predict", run, *keys, f"workers={workers}", "--input", file)
        assert sublayer(*command, "--output", output) == (0, "", told)
    assert one.read_text() == two.read_text()


def test_ctrl_c_and_resume(sublayer, run, file, tmp_path, monkeypatch):
    from sublayer.tasks.seq2seq import TextToText

    monkeypatch.setattr(answering, "CHUNK", 3)
    whole, output = tmp_path / "whole.txt", tmp_path / "out.txt"
    sublayer("predict", run, "--input", file, "--output", whole)
    answer, calls = TextToText.results, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*given)

    command = ("predict", run, "--input", file, "--output", output)
    with monkeypatch.context() as patch:
        patch.setattr(TextToText, "results", interrupted)
        assert sublayer(*command)[0] == 130
    part = tmp_path / "out.txt.part"
    assert part.read_text() == "".join(whole.read_text().splitlines(keepends=True)[:6])
    status, _, err = sublayer(*command)
    assert status == 2
    assert err.endswith("holds answers of an interrupted run: add --resume, or remove it\n")
    assert sublayer(*command, "beam=1", "--resume")[0] == 2
    assert sublayer(*command, "--resume") == (0, "", "")
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.part*"))


def test_resume_needs_a_file(sublayer, run):
    status, _, err = sublayer("predict", run, "--resume", stdin=b"ab\n")
    assert (status, err) == (2, "sublayer: --resume goes on with a file: name it with --output\n")


def test_inputs_of_several_lines(sublayer, run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a\\nb"}\n"ab"\n')
    _, out, err = sublayer("predict", run, "--input", tmp_path / "in.jsonl")
    assert (len(out.splitlines()), err) == (2, "")


def test_two_processes_write_the_file_of_one(sublayer, run, file, tmp_path):
    output = tmp_path / "shared.txt"
    program = (
        "from sublayer.training import answering; answering.CHUNK = 3\n"
        "from sublayer.cli.main import main; raise SystemExit(main())"
    )
    (tmp_path / "small.py").write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [tmp_path / "small.py", "predict", run, "--input", file, "--output", output]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    sublayer("predict", run, "--input", file, "--output", tmp_path / "one.txt")
    assert output.read_bytes() == (tmp_path / "one.txt").read_bytes()
    assert not list(tmp_path.glob("*.part*"))


def test_processes_need_files(sublayer, run, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, err = sublayer("predict", run, stdin=b"ab\n")
    assert status == 2
    assert err == "sublayer: several processes write a file: name it with --output\n"


# ---- what files are not --------------------------------------------------------------------------


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_nothing_is_answered_where_the_output_is_wrong(sublayer, run, file, tmp_path):
    before, names = file.read_bytes(), sorted(tmp_path.iterdir())
    for output, told in ((file, "is both input and output"), (tmp_path, "is a folder")):
        status, _, err = sublayer("predict", run, "--input", file, "--output", output)
        assert status == 2
        assert told in err
        assert err.count("\n") == 1
    assert sublayer("predict", run, "--output", "", stdin=b"a\n")[2] == (
        "sublayer: the output . is a folder: name a file in it with --output\n"
    )
    assert (file.read_bytes(), sorted(tmp_path.iterdir())) == (before, names)


def test_a_pipe_is_written_to_and_stays(sublayer, run, file, fifo):
    read = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    reader.start()
    assert sublayer("predict", run, "--input", file, "--output", fifo) == (0, "", "")
    reader.join(10)
    assert fifo.is_fifo()
    assert read == [sublayer("predict", run, "--input", file)[1].encode()]
    for options in (["--resume"], []):  # without, a matrix
        pipe = fifo if options else fifo.rename(fifo.with_name("fifo.npy"))
        status, _, err = sublayer("predict", run, "--output", pipe, *options, stdin=b"a\n")
        assert status == 2
        assert ("goes on with a file" if options else "as a matrix needs") in err


@pytest.mark.parametrize("name", ["fifo", "fifo.jsonl"])
def test_a_pipe_is_read(sublayer, run, fifo, name):
    pipe = fifo.rename(fifo.with_name(name))
    content = b'"abc"\n"b"\n' if name.endswith("jsonl") else b"abc\nb\n"
    threading.Thread(target=pipe.write_bytes, args=[content], daemon=True).start()
    assert sublayer("predict", run, "--input", pipe) == (
        sublayer("predict", run, stdin=b"abc\nb\n")
    )


def test_resume_in_less_memory(sublayer, run, file, tmp_path, monkeypatch):
    """What a killed process is answered by, `workers=1`, goes on with what is there."""
    from sublayer.tasks.seq2seq import TextToText

    monkeypatch.setattr(answering, "CHUNK", 3)
    whole = sublayer("predict", run, "beam=2", "--input", file)[1]
    answer, output = TextToText.results, tmp_path / "out.txt"

    def killed(self, inputs, *given):
        if "cab" in inputs:
            raise OSError("a process that answered was killed")
        return answer(self, inputs, *given)

    command = ("predict", run, "beam=2", "--input", file, "--output", output)
    with monkeypatch.context() as patch:
        patch.setattr(TextToText, "results", killed)
        assert sublayer(*command, "workers=2")[0] == 2
    assert (tmp_path / "out.txt.part").read_text().count("\n") == 3
    assert sublayer(*command, "--resume", "workers=1", "batch_tokens=64") == (0, "", "")
    assert output.read_text() == whole


def test_one_answer_of_many_asked_for_is_numbered(sublayer, run):
    options = ("--n-best", "3", "max_length=1", 'prefix="a"')
    _, out, err = sublayer("predict", run, *options, stdin=b"abc\n")
    assert err == ""
    rows = [line.split("\t") for line in out.splitlines()]
    assert [(row[0], len(row)) for row in rows] == [("0", 4)] * len(rows)
    assert rows
