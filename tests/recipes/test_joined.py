"""`recipes/compare/joined.py`: the same sentences in texts of several lengths."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import sacrebleu

from sublayer.config.files import load_recipe, write_recipe
from sublayer.data.lines import read_lines

ROOT = Path(__file__).parents[2]
SCRIPT = run_path(str(ROOT / "recipes" / "compare" / "joined.py"))
RECIPE = ROOT / "recipes" / "multi30k_en_de.toml"
SPLITS = ("train", "valid", "test")
N = 10


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The script's arguments; sentence i of a split is `SPLITi` and `SPLITi!`."""
    monkeypatch.chdir(tmp_path)
    arguments = ["joined.py", "write", "out"]
    for split in SPLITS:
        sources = "".join(f"{split}{i}\n" for i in range(N))
        Path(f"{split}.en.gz").write_bytes(gzip.compress(sources.encode()))
        Path(f"{split}.de").write_text(sources.replace("\n", "!\n"), encoding="utf-8")
        arguments += [f"--{split}", f"{split}.en.gz", f"{split}.de"]
    return arguments


def run(monkeypatch, arguments):
    monkeypatch.setattr("sys.argv", arguments)
    return SCRIPT["main"]()


def pairs(name):
    """Sources of a file, each a list of sentences; every target has those of its source."""
    rows = list(read_lines([f"out/{name}.source", f"out/{name}.target"]))
    assert all(row.targets == (" ".join(f"{s}!" for s in row.source.split()),) for row in rows)
    return [row.source.split() for row in rows]


def test_test_data_has_every_sentence_equally_often_whatever_the_length(command, monkeypatch):
    assert run(monkeypatch, [*command, "--most", "3"]) == 0
    every = []
    for size in (1, 2, 3):
        rows = pairs(f"test.{size}")
        assert rows == [[f"test{(i + j) % N}" for j in range(size)] for i in range(N)]
        assert set(Counter(s for row in rows for s in row).values()) == {size}
        every += rows
    assert pairs("test") == every


def test_training_data_is_grouped_anew_every_time(command, monkeypatch):
    assert run(monkeypatch, [*command, "--most", "3", "--times", "50"]) == 0
    rows = pairs("train")
    assert Counter(s for row in rows for s in row) == {f"train{i}": 50 for i in range(N)}
    assert set(map(len, rows)) == {1, 2, 3}
    assert len({tuple(row) for row in rows}) > 100
    assert sorted(s for row in pairs("valid") for s in row) == [f"valid{i}" for i in range(N)]


def test_the_same_seed_gives_the_same_files(command, monkeypatch):
    assert run(monkeypatch, command) == 0
    first = Path("out/train.source").read_bytes()
    for seed, is_same in (("1", True), ("2", False)):
        command[2] = f"out{seed}"
        assert run(monkeypatch, [*command, "--seed", seed]) == 0
        assert (Path(command[2], "train.source").read_bytes() == first) == is_same


def test_what_the_user_can_mend_is_told_in_a_sentence(command, monkeypatch, capsys):
    Path("valid.de").write_text("a\nb\n", encoding="utf-8")
    assert run(monkeypatch, command) == 2
    told = capsys.readouterr().err
    assert "joined.py: aligned files must have as many lines as each other" in told
    assert not Path("out").exists()
    Path("valid.de").unlink()
    assert run(monkeypatch, command) == 2
    assert "joined.py: there is no file valid.de" in capsys.readouterr().err


def test_a_folder_that_holds_something_stays(command, monkeypatch, capsys):
    Path("out").mkdir()
    Path("out/mine").write_text("x", encoding="utf-8")
    assert run(monkeypatch, command) == 2
    assert capsys.readouterr().err == "joined.py: out is there already; name a new folder\n"
    assert Path("out/mine").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize("wrong", [["--most", "0"], ["--times", "0"], ["--seed", "-1"]])
def test_numbers_that_make_no_sense_are_refused(command, monkeypatch, capsys, wrong):
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, [*command, *wrong])
    assert end.value.code == 2
    assert "--most and --times are 1 or more" in capsys.readouterr().err


@pytest.fixture
def compared(tmp_path):
    """A comparison of two cells, of which one has finished: seeds 1 and 2."""
    root = tmp_path / "runs"
    for seed in (1, 2):
        run = root / "one" / f"seed-{seed}"
        write_recipe(load_recipe(RECIPE), run / "recipe.toml")
        (run / "result.json").write_text("{}", encoding="utf-8")
    cells = {name: {"name": f"cell {name}", "recipe": {}} for name in ("one", "two")}
    plan = {"budget": "1 step", "seeds": 2, "split": None, "cells": cells}
    (root / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return root


def forgets(run, split, files):
    """Answers as a model that with seed 2 forgets what comes after the second sentence."""
    last = 2 if run.name == "seed-2" else None
    targets = [pair.targets[0] for pair in read_lines(files)]
    outputs = [" ".join(target.split()[:last]) for target in targets]
    return SimpleNamespace(outcome=SimpleNamespace(outputs=outputs))


def test_every_size_is_scored_on_the_same_texts(command, monkeypatch, compared, capsys):
    assert run(monkeypatch, [*command, "--most", "3"]) == 0
    monkeypatch.setitem(SCRIPT["main"].__globals__, "evaluate", forgets)
    assert run(monkeypatch, ["joined.py", "score", "out", str(compared)]) == 0
    whole = [[f"test{(begin + i) % N}!" for i in range(6)] for begin in range(N)]
    cut = [[*six[:2], *six[3:5]] for six in whole]  # of three sentences two, twice
    bleu = sacrebleu.corpus_bleu(
        [" ".join(six) for six in cut], [[" ".join(six) for six in whole]], lowercase=True
    )
    assert capsys.readouterr().out.splitlines() == [
        "| sentences at a time | 1 | 2 | 3 |",
        "|---|---:|---:|---:|",
        f"| cell one | 100.0 | 100.0 | {(100 + bleu.score) / 2:.1f} |",
    ]


@pytest.mark.parametrize(
    ("data", "runs", "told"),
    [
        ("runs", "runs", "runs has no test.1.source; give the folder that `write` made"),
        ("out", "out", "out is no comparison; give the folder that its --out was"),
        ("out", "runs", "runs has no finished run yet; give the command to compare again"),
    ],
)
def test_folders_that_cannot_be_scored(command, monkeypatch, compared, capsys, data, runs, told):
    assert run(monkeypatch, command) == 0
    for result in compared.rglob("result.json"):
        result.unlink()
    assert run(monkeypatch, ["joined.py", "score", data, runs]) == 2
    assert capsys.readouterr() == ("", f"joined.py: {told}\n")
