"""`predict` on files: chunks do not show, an interruption is gone on with, processes share."""

from __future__ import annotations

import os
import subprocess
import sys

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
