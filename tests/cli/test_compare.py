"""`sublayer compare` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sublayer.config.errors import sentence
from sublayer.training import comparison as runner
from sublayer.training.cell import run_cell


@pytest.fixture
def in_process(monkeypatch) -> None:
    """Runs in this process, where a process of its own would only take time."""

    def run(root: Path, cell: str, seed: int, lock: int) -> str | None:
        try:
            run_cell(root, cell, seed)
        except (ValueError, OSError) as error:
            return sentence(error)
        return None

    monkeypatch.setattr(runner, "_run", run)


def test_a_table_for_people_and_json_for_programs(sublayer, in_process, recipe, tmp_path):
    typed = ("compare", recipe, "model.norm=pre,post", "--budget", "2 steps", "--seeds", "2")
    status, out, err = sublayer(*typed, "--out", tmp_path)
    assert (status, err) == (0, "")
    title, headings, *rows = out.splitlines()
    assert title == "test data, 2 steps for each run"
    assert headings.split() == [
        *("cell", "exact_match", "perplexity"),
        *("parameters", "tokens/s", "MFLOPs/token", "steps", "minutes"),
    ]
    assert [row.split()[0] for row in rows[:2]] == ["norm=pre", "norm=post"]
    assert all(row.count("±") == 2 for row in rows[:2])
    assert rows[-1] == f"comparison in {tmp_path / 'comparison.md'}, pictures beside it"
    status, again, err = sublayer(*typed, "--out", tmp_path, "--json")
    assert (status, err) == (0, "")
    assert json.loads(again) == json.loads((tmp_path / "comparison.json").read_text())


def test_a_failed_run_is_told_on_stderr(sublayer, in_process, recipe, tmp_path):
    data = recipe.parent / "pairs.tsv"
    typed = ("compare", recipe, f"data.train={data},nothing.tsv", "--budget", "1 step")
    status, out, err = sublayer(*typed, "--seeds", "1", "--out", tmp_path)
    assert status == 0
    assert err.startswith("train=nothing.tsv, seed 1 failed: there is no file nothing.tsv")
    assert err.count("\n") == 1
    assert " failed " in out


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["model.norm=pre,post"], "has no budget; give --minutes 10 or --budget"),
        (["model.norm=pre,", "--minutes", "1"], "'model.norm=pre,' has an empty value"),
        (["model.norm=pre,past", "--minutes", "1"], "cell 'norm=past': model (transformer): norm"),
        (["modl.norm=pre,post", "--minutes", "1"], "modl: unknown key; did you mean 'model'"),
        (["--minutes", "1", "--budget", "1 step"], "--minutes and --budget are both a budget"),
        (["--minutes", "0"], "'0.0 minutes' is no budget"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
        (["--quick"], "no [compare.quick]; give --minutes or --budget"),
    ],
)
def test_mistakes_are_a_sentence(sublayer, recipe, tmp_path, typed, words):
    status, out, err = sublayer("compare", recipe, *typed, "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    assert words in err
    assert not (tmp_path / "out").exists()
