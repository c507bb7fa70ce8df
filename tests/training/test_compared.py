"""What is written of a comparison while it goes on, and files of it that are damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sublayer.config.comparison import Budget, Comparison, read_comparison
from sublayer.config.files import dump_json, load_json
from sublayer.training import comparison as runner
from sublayer.training.compared import compared, markdown
from sublayer.training.comparison import Watcher, compare

RECORD = {"split": "train", "step": 1, "minutes": 0.1, "loss": 2.0}


def write_result(folder: Path, seed: int) -> None:
    """What a run leaves, as far as a comparison reads it."""
    score = {"value": 1.0 + seed, "signature": "per"}
    buckets = [{"low": 2, "high": 5, "rows": 9, "value": 1.0 + seed}]
    evaluation = {"split": "test", "metrics": {"per": score}, "by_source_length": {"per": buckets}}
    numbers = {"parameters": 10, "training_flops_per_token": 60, "steps": 6, "minutes": 0.1}
    result = {"seed": seed, **numbers, "tokens_per_second": 5.0, "evaluation": evaluation}
    dump_json(result, folder / "result.json")
    (folder / "metrics.jsonl").write_text(json.dumps(RECORD) + "\n")


class Reader(Watcher):
    """Keeps what stood in the folder before each run."""

    def __init__(self, root: Path) -> None:
        self.root, self.texts, self.pictures = root, [], []

    def on_run(self, number: int, of: int, cell: str, seed: int) -> None:
        self.texts.append((self.root / "comparison.md").read_text())
        self.pictures.append(sorted(file.name for file in self.root.glob("*.png")))

    def on_failure(self, cell: str, seed: int, error: str) -> None:
        pass

    def on_stop(self) -> None:
        pass


@pytest.fixture
def untrained(monkeypatch) -> None:
    """Runs that cost nothing; those of post-norm fail."""

    def run(root: Path, cell: str, seed: int, lock: int) -> str | None:
        if "post" in cell:
            return "no luck"
        write_result(root / cell / f"seed-{3 + seed}", 3 + seed)
        return None

    monkeypatch.setattr(runner, "_run", run)


@pytest.fixture
def make_comparison(recipe_file) -> Callable[..., Comparison]:
    def make(*changes: str, seeds: int = 2) -> Comparison:
        return read_comparison(recipe_file, changes, budget=Budget(6.0, "steps"), seeds=seeds)

    return make


def test_what_is_done_so_far_can_be_read_at_any_time(untrained, make_comparison, tmp_path):
    out = tmp_path / "out"
    reader = Reader(out)
    found = compare(make_comparison("model.norm=pre,post"), out, reader)
    coming = [f"Not finished: {n} of 4 runs are still to come." for n in (4, 3, 2, 1)]
    for text, words in zip(reader.texts, coming, strict=True):
        assert words in text
    assert "measured on" not in reader.texts[0]
    assert "| norm=pre | 4 | 10 |" in reader.texts[1]
    assert "| norm=post | failed |" in reader.texts[2]
    assert reader.pictures == [[], *3 * [["lengths.png", "metric.png"]]]
    text = (out / "comparison.md").read_text()
    assert "](metric.png)" in text
    assert "Not finished" not in text
    again = Reader(out)
    assert compare(make_comparison("model.norm=pre,post"), out, again).as_json() == found.as_json()
    assert "| norm=pre | 4.5 ± 0.71 | 10 |" in again.texts[0]


def test_how_many_seeds_there_are_is_said(untrained, make_comparison, tmp_path):
    for seeds, words in (
        (1, "6 steps. One seed, measured on test data.\n"),
        (3, "6 steps. Mean ± standard deviation over 3 seeds, measured on test data.\n"),
    ):
        root = tmp_path / str(seeds)
        found = compare(make_comparison("model.norm=pre", seeds=seeds), root, Reader(root))
        assert f"Budget of each run: {words}" in markdown(found, [])


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"seed": 3}', "{", "null", '{"seed": 3, "evaluation": {"metrics": []}}']
)
def test_a_damaged_result_is_named(untrained, make_comparison, tmp_path, text):
    comparison, out = make_comparison("model.norm=pre"), tmp_path / "out"
    found = compare(comparison, out, Reader(out))
    file = out / "recipe" / "seed-3" / "result.json"
    file.write_text(text)
    message = r"seed-3/result\.json is damaged, it is not the result of a run; remove it, and the"
    for read in (
        lambda: compared(comparison, out, {}),
        lambda: compare(comparison, out, Reader(out)),
    ):
        with pytest.raises(ValueError, match=message):
            read()
    file.unlink()
    assert compare(comparison, out, Reader(out)).as_json() == found.as_json()


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"cells": []}', '{"cells": {}}', '{"seed": 1}', "{", '{"cells": {"a": 1}}'],
)
def test_a_damaged_plan_is_named(untrained, make_comparison, tmp_path, text):
    compare(make_comparison("model.norm=pre"), tmp_path / "out", Reader(tmp_path / "out"))
    plan = tmp_path / "out" / "plan.json"
    whole = load_json(plan)
    for damaged in (text, json.dumps(whole | {"cells": {}}), json.dumps(whole | {"cells": []})):
        plan.write_text(damaged)
        with pytest.raises(ValueError, match=r"plan\.json is damaged, it is not the plan of a com"):
            compare(make_comparison("model.norm=pre"), tmp_path / "out", Reader(tmp_path / "out"))


def test_in_a_folder_of_something_else_nothing_is_left(untrained, make_comparison, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("two years")
    with pytest.raises(ValueError, match="is not empty and is no comparison; give another --out"):
        compare(make_comparison("model.norm=pre"), tmp_path / "out", Reader(tmp_path / "out"))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]
