"""Comparisons: what they train, what they tell, and what stops them."""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import tomli_w

from sublayer.config.comparison import Budget, Comparison, read_comparison
from sublayer.config.errors import sentence
from sublayer.config.files import load_json
from sublayer.training import comparison as runner
from sublayer.training.cell import run_cell
from sublayer.training.compared import Compared
from sublayer.training.comparison import Watcher, check, compare
from sublayer.training.evaluate import evaluate
from sublayer.training.start import train

SIX = Budget(6.0, "steps")
ALONE = os.environ | {"OMP_NUM_THREADS": "1"}
"""Sums over more threads are rounded otherwise than here, where there is one."""


class Heard(Watcher):
    """What was told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_run(self, number: int, of: int, cell: str, seed: int) -> None:
        self.told.append((number, of, cell, seed))

    def on_failure(self, cell: str, seed: int, error: str) -> None:
        self.told.append((cell, seed, error))

    def on_stop(self) -> None:
        self.told.append("stopped")


def run_here(root: Path, cell: str, seed: int, lock: int) -> str | None:
    try:
        run_cell(root, cell, seed)
    except (ValueError, OSError) as error:
        return sentence(error)
    return None


@pytest.fixture
def in_process(monkeypatch) -> None:
    """Runs in this process, where a process of its own would only take time."""
    monkeypatch.setattr(runner, "_run", run_here)


@pytest.fixture
def make_comparison(recipe_file) -> Callable[..., Comparison]:
    def make(*changes: str, budget: Budget = SIX, seeds: int = 1) -> Comparison:
        return read_comparison(recipe_file, changes, budget=budget, seeds=seeds)

    return make


def timeless(value: Any) -> Any:
    """The same without what a clock told."""
    if isinstance(value, dict):
        times = {"minutes", "tokens_per_second"}
        return {k: timeless(v) for k, v in value.items() if k not in times}
    return [timeless(v) for v in value] if isinstance(value, list) else value


# ---- what is trained, and what is told -----------------------------------------------------------


@pytest.fixture(scope="module")
def wanted(tmp_path_factory, write_recipe) -> Comparison:
    """Two cells that can be trained and one that cannot, with two seeds."""
    file = write_recipe(tmp_path_factory.mktemp("compared"))
    missing = f"data.train={file.parent / 'train.tsv'},{file.parent / 'missing.tsv'}"
    found = read_comparison(file, ["model.norm=pre,post", missing], budget=SIX, seeds=2)
    return Comparison(found.cells[:3], SIX, 2, None)  # pre, pre without data, post


@pytest.fixture(scope="module")
def found(wanted, tmp_path_factory) -> tuple[Compared, Path, Heard]:
    """What was found, where, and what was heard meanwhile."""
    out, heard = tmp_path_factory.mktemp("found") / "out", Heard()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runner, "_run", run_here)
        return compare(wanted, out, heard), out, heard


def test_a_cell_is_what_train_and_evaluate_make_of_its_recipe(found, wanted, tmp_path):
    _, out, _ = found
    recipe = wanted.cells[2].recipe
    training = recipe.training.model_copy(update={"steps": 6})
    recipe = recipe.model_copy(update={"seed": 4, "training": training})
    train(recipe, tmp_path / "alone")
    (cell,) = [c for c in load_json(out / "comparison.json")["cells"] if "norm=post" in c["name"]]
    run = out / cell["folder"] / "seed-4"
    for file in ("model.safetensors", "recipe.toml", "store/train/source.ids"):
        assert (run / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    measured = evaluate(tmp_path / "alone").as_json()
    told = load_json(run / "result.json")["evaluation"]
    assert told | {"seconds": 0} == measured | {"seconds": 0}
    assert told["split"] == "test"


def test_the_table_has_means_and_spreads_over_seeds(found):
    compared, out, _ = found
    cells = load_json(out / "comparison.json")["cells"]
    headings, rows = compared.rows()
    text = (out / "comparison.md").read_text()
    assert headings[:4] == ["cell", "exact_match", "per", "perplexity"]
    for cell, row in zip(cells, rows, strict=True):
        runs = [load_json(file) for file in sorted((out / cell["folder"]).glob("*/result.json"))]
        if not runs:
            continue
        assert [run["seed"] for run in runs] == cell["seeds"] == [3, 4]
        values = [run["evaluation"]["metrics"]["perplexity"]["value"] for run in runs]
        assert values[0] != values[1]
        told = cell["metrics"]["perplexity"]
        assert told["values"] == values
        assert told["mean"] == pytest.approx(mean(values))
        assert told["spread"] == pytest.approx(stdev(values))
        assert row[3] == f"{mean(values):.4g} ± {stdev(values):.2g}"
        assert row[4] == f"{runs[0]['parameters']:,}" == f"{cell['parameters']:,}"
        assert f"| {' | '.join(row)} |" in text
    assert (cells[0]["steps"], cells[0]["missing"]) == (6, [])


def test_a_failed_cell_is_told_and_the_others_go_on(found):
    compared, out, heard = found
    failed = load_json(out / "comparison.json")["cells"][1]
    assert failed["name"].startswith("norm=pre train=")
    assert [f["seed"] for f in failed["failed"]] == [3, 4]
    assert all("missing.tsv" in f["error"] for f in failed["failed"])
    assert compared.rows()[1][1][1] == "failed"
    assert "## Failed" in (out / "comparison.md").read_text()
    assert heard.told[0] == (1, 6, compared.cells[0].name, 3)
    assert [told[2][-24:] for told in heard.told if len(told) == 3] == 2 * [heard.told[2][2][-24:]]
    # first all cells with the first seed
    assert [told[3] for told in heard.told if len(told) == 4] == [3, 3, 3, 4, 4, 4]


def test_pictures_show_a_line_for_each_cell(found):
    _, out, _ = found
    for name in ("metric.png", "lengths.png"):
        picture = matplotlib.image.imread(out / name)[..., :3]
        assert picture.shape[0] > 500
        for color in ((0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)):  # the first two of tab10
            near = np.abs(picture - np.array(color) / 255).max(-1) < 0.02
            assert near.sum() > 100, name
        assert f"]({name})" in (out / "comparison.md").read_text()


def test_scores_by_length_are_those_of_the_runs(found):
    compared, out, _ = found
    headings, rows = compared.length_rows()
    run = load_json(out / compared.cells[0].folder.name / "seed-3" / "result.json")
    buckets = run["evaluation"]["by_source_length"]["exact_match"]
    assert headings[1:] == [f"{b['low']}-{b['high']}" for b in buckets]
    assert [row[0] for row in rows] == [compared.cells[0].name, compared.cells[2].name]


def test_what_is_done_is_not_done_again(found, wanted, in_process):
    compared, out, _ = found
    before = {file: file.stat().st_mtime_ns for file in out.rglob("result.json")}
    heard = Heard()
    again = compare(wanted, out, heard)
    assert again.as_json() == compared.as_json()
    assert {file: file.stat().st_mtime_ns for file in out.rglob("result.json")} == before
    assert {told[2] for told in heard.told if len(told) == 4} == {compared.cells[1].name}


def test_data_is_tokenized_once_for_a_seed(found):
    _, out, _ = found
    stores = [file.stat() for file in out.glob("*/seed-3/store/train/source.ids")]
    assert len(stores) == 2
    assert len({store.st_ino for store in stores}) == 1
    assert len(list((out / ".data").iterdir())) == 2


# ---- budgets -------------------------------------------------------------------------------------


def test_flops_become_steps_before_the_run_begins(in_process, make_comparison, tmp_path):
    budget = Budget(4e8, "flops")
    compare(make_comparison("model.n_layers=1,3", budget=budget), tmp_path / "out", Heard())
    cells = load_json(tmp_path / "out" / "comparison.json")["cells"]
    few, many = cells[1]["steps"], cells[0]["steps"]
    assert 2 * few < many < 4 * few  # three times as many blocks
    for cell in cells:
        run = tmp_path / "out" / cell["folder"] / "seed-3"
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        train_records = [r for r in records if r["split"] == "train"]
        last = 3e-3 * math.sin(math.pi / 2 / cell["steps"]) ** 2  # of a cosine to the budget's end
        assert train_records[-1]["lr"] == pytest.approx(last)
        tokens = sum(
            r["tokens_per_second"] * 60 * (r["minutes"] - before)
            for before, r in zip(
                [0.0, *(r["minutes"] for r in train_records)], train_records, strict=False
            )
        )
        assert tokens * cell["training_flops_per_token"] == pytest.approx(4e8, rel=0.15)


def test_flops_that_are_not_counted_are_no_budget(make_comparison, tmp_path, in_process):
    (tmp_path / "words.txt").write_text("one two three four five\n" * 400)
    file = str(tmp_path / "words.txt")
    data = f"{{kind='text',unit='line',train='{file}',test='{file}'}}"
    keys = (f"data={data}", "objective.kind=words")
    model = ("model={family='word2vec',d_model=8}", "tokenizer.shared={kind='words',vocab_size=16}")
    words = make_comparison(
        *keys, *model, "evaluation={metrics=[]}", "training.clip=1,2", budget=Budget(1e6, "flops")
    )
    with pytest.raises(ValueError, match="word2vec has no matrix products to count; give the budg"):
        compare(words, tmp_path / "out", Heard())


def test_fewer_flops_than_a_step_takes_are_no_budget(in_process, make_comparison, tmp_path):
    comparison = make_comparison("model.norm=pre", budget=Budget(1.0, "flops"))
    words = r"one step takes \d\.\d+e\+\d+ FLOPs, and the budget is 1 FLOPs; give several times as"
    with pytest.raises(ValueError, match=words):
        compare(comparison, tmp_path / "out", Heard())


def test_minutes_end_every_run(in_process, make_comparison, tmp_path):
    budget = Budget(0.01, "minutes")
    found = compare(
        make_comparison("model.norm=pre,post", budget=budget), tmp_path / "out", Heard()
    )
    for cell in found.cells:
        assert cell.middle("minutes") >= 0.01
        clock = np.fromfile(cell.folder / "seed-3" / "checkpoints" / "clock")
        assert clock[-2] < 0.01 <= clock[-1]


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.n_heads=2,3"], "cell 'n_heads=3': .*d_model 16 is not divisible by n_heads 3"),
        (["model.blah=1,2"], "cell 'blah=1': .*blah: unknown key"),
        (["model.norm=pre,pots"], "cell 'norm=pots': .*unknown value 'pots'; did you mean 'post'"),
        (['evaluation.metrics=["per"],["prr"]'], r"cell 'metrics=\['prr'\]': .*'prr'"),
    ],
)
def test_a_wrong_cell_is_named_before_anything_is_trained(
    make_comparison, tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        compare(make_comparison(*changes), tmp_path / "out", Heard())
    assert not (tmp_path / "out").exists()


def test_something_must_be_there_to_measure_on(recipe_file):
    table = read_comparison(recipe_file, budget=SIX).cells[0].recipe.model_dump(exclude_none=True)
    del table["data"]["test"], table["data"]["valid"]
    recipe_file.write_text(tomli_w.dumps(table))
    with pytest.raises(ValueError, match=r"cell 'recipe': .*neither 'test' nor 'valid' data"):
        check(read_comparison(recipe_file, budget=SIX))


def test_a_folder_is_one_comparison(in_process, make_comparison, tmp_path):
    out = tmp_path / "out"
    compare(make_comparison("model.norm=pre,post"), out, Heard())
    for other, message in (
        (make_comparison("model.norm=pre"), "comparison of other cells"),
        (make_comparison("model.norm=pre,post", budget=Budget(7.0, "steps")), "budget is '6 step"),
        (make_comparison("model.norm=pre,post", seeds=2), "seeds is 1 there, 2 here"),
        (make_comparison("model.norm=pre,post", "model.d_ff=8"), "d_ff is 32 there, 8 here"),
    ):
        with pytest.raises(ValueError, match=f"{message}.*give another --out"):
            compare(other, out, Heard())


def test_a_folder_of_something_else_is_left_alone(make_comparison, tmp_path):
    (tmp_path / "thesis.txt").write_text("two years")
    with pytest.raises(ValueError, match="not empty and is no comparison"):
        compare(make_comparison("model.norm=pre,post"), tmp_path, Heard())
    with pytest.raises(ValueError, match="is a file; give another --out"):
        compare(make_comparison("model.norm=pre,post"), tmp_path / "thesis.txt", Heard())


def test_two_processes_do_not_share_a_folder(make_comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "WAIT", 0.2)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is at work"):
            compare(make_comparison("model.norm=pre,post"), tmp_path / "out", Heard())


def test_where_every_run_fails_there_is_nothing_to_compare(in_process, make_comparison, tmp_path):
    comparison = make_comparison(f"data.train={tmp_path / 'a.tsv'},{tmp_path / 'b.tsv'}")
    with pytest.raises(ValueError, match=r"no run succeeded; the first failed: .*a\.tsv"):
        compare(comparison, tmp_path / "out", Heard())


# ---- what stops it -------------------------------------------------------------------------------


def test_a_run_that_is_killed_is_a_failure(make_comparison, tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    heard = Heard()
    with pytest.raises(ValueError, match="ended by SIGKILL; the system may have had no memory"):
        compare(make_comparison("model.norm=pre,post"), tmp_path / "out", heard)
    assert [told[0] for told in heard.told if len(told) == 3] == ["norm=pre", "norm=post"]


def wait_for(is_there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not is_there():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)


def test_stopped_at_several_moments_it_comes_to_the_same_end(
    in_process, make_comparison, recipe_file, tmp_path
):
    steps = Budget(30.0, "steps")
    compare(make_comparison("model.norm=pre,post", budget=steps), tmp_path / "whole", Heard())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sublayer", "compare", recipe_file, "model.norm=pre,post"]
    command += ["--budget", "30 steps", "--seeds", "1", "--out", out]

    def files(pattern: str) -> Callable[[], bool]:
        return lambda: any(out.glob(pattern))

    moments = [
        (files("plan.json"), signal.SIGINT),
        (files("norm=pre/*/checkpoints/step-*7"), signal.SIGKILL),
        (files("norm=pre/*/model.safetensors"), signal.SIGKILL),
    ]
    for is_there, how in moments:
        with subprocess.Popen(command, text=True, stderr=subprocess.PIPE, env=ALONE) as process:
            wait_for(is_there, process)
            os.kill(process.pid, how)
            _, told = process.communicate()
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert told.splitlines() == [
                f"stopped; the same command goes on with {out}",
                "sublayer: interrupted",
            ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ALONE)
    ours, theirs = (load_json(folder / "comparison.json") for folder in (out, tmp_path / "whole"))
    assert timeless(ours) == timeless(theirs)
    for cell in ("norm=pre", "norm=post"):
        run = f"{cell}/seed-3"
        for file in ("model.safetensors", "checkpoints/best.safetensors"):
            assert (out / run / file).read_bytes() == (tmp_path / "whole" / run / file).read_bytes()
        clock = np.fromfile(out / run / "checkpoints" / "clock")
        assert len(clock) == 30
        assert all(a <= b for a, b in pairwise(clock))
