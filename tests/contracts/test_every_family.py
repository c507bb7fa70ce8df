"""Every family with every objective it has a head for: trained, stopped, resumed, used, measured.

What fits is found out from the registries: a new family comes by itself, a new objective needs a
case of its own here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sublayer.config.schema import Recipe
from sublayer.data.source import read
from sublayer.data.store import Store
from sublayer.models.base import FAMILIES
from sublayer.models.hub import load_network
from sublayer.tasks import TASKS, Predictor
from sublayer.training import start
from sublayer.training.callbacks import Listener, Sample
from sublayer.training.evaluate import evaluate
from sublayer.training.every import Moment
from sublayer.training.prepare import make_task, model_config
from sublayer.training.run import load_predictor, load_task
from sublayer.training.start import train

SMALL = {
    "d_model": 16,
    "d_embedding": 8,
    "n_layers": 1,
    "n_stacks": 2,
    "n_filters": 4,
    "filters": [4, 4, 4],
    "n_highways": 1,
    "d_cell": 24,
    "d_reader": 8,
    "rounds": 2,
    "n_heads": 2,
    "d_head": 8,
    "d_ff": 16,
    "max_length": 64,
    "image_size": 8,
    "patch_size": 4,
    "n_channels": 1,
}
"""Keys of families; each is given those that it knows."""


@dataclass(frozen=True)
class Case:
    """An objective, its data by the name of a file below, and inputs for the model."""

    objective: dict[str, Any]
    data: dict[str, Any]
    inputs: list[str]
    metrics: list[str] = field(default_factory=list)
    n_best: int = 2
    batch: int = 64


TEXTS = {"kind": "text", "unit": "line", "train": "texts.txt"}
COLUMNS = {"kind": "tsv", "source": 0, "target": 1, "max_source": 16, "max_target": 16}
LABELS = COLUMNS | {"second": 2}
CASES = {
    "seq2seq": Case(
        {"kind": "seq2seq"}, COLUMNS | {"train": "pairs.tsv"}, ["abc", "", "ba"], ["exact_match"]
    ),
    "seq2seq r_drop": Case(
        {"kind": "seq2seq", "r_drop": 0.5}, COLUMNS | {"train": "pairs.tsv"}, ["abc", "ba"]
    ),
    "causal": Case({"kind": "causal", "length": 8}, TEXTS, ["the cat", "", "a"]),
    "masked": Case({"kind": "masked", "length": 24}, TEXTS, ["the <mask>", "<mask> cat <mask> a"]),
    "masked next": Case({"kind": "masked", "length": 24, "pairs": "next"}, TEXTS, ["the <mask>"]),
    "masked order": Case({"kind": "masked", "length": 24, "pairs": "order"}, TEXTS, ["<mask> a"]),
    "spans": Case(
        {"kind": "spans", "length": 16},
        TEXTS,
        ["the <extra_id_0> sat", "<extra_id_0> cat <extra_id_1>"],
    ),
    "bidirectional": Case(
        {"kind": "bidirectional", "length": 8},
        TEXTS,
        ["the cat sat on a mat and a dog too.", "", "nowhere"],
        n_best=1,
    ),
    "classify": Case(
        {"kind": "classify"}, LABELS | {"train": "one.tsv"}, ["ab", "", "a\tb c"], ["accuracy"]
    ),
    "classify several": Case(
        {"kind": "classify", "targets": "several"},
        LABELS | {"train": "several.tsv"},
        ["ab", "a\tb"],
        ["micro_f1"],
    ),
    "classify number": Case(
        {"kind": "classify", "targets": "number"},
        LABELS | {"train": "numbers.tsv"},
        ["ab", "a\tb"],
        ["pearson"],
    ),
    "tag": Case(
        {"kind": "tag"},
        {"kind": "conll", "train": "tags.conll", "max_source": 24},
        ["the cat", "", "a dog sat on the mat"],
        ["word_accuracy"],
        n_best=1,
    ),
    "answer": Case(
        {"kind": "answer", "length": 24},
        {"kind": "squad", "train": "questions.jsonl"},
        ["who sat?\tthe cat sat", "who?\t" + "the dog ran home " * 9, "why?\t"],
        ["answer_f1"],
    ),
    "images": Case(
        {"kind": "images", "shift": 1},
        {"kind": "images", "train": "images", "size": 8, "channels": 1},
        ["images/dark/0.png", "images/light/1.png"],
        ["accuracy"],
        batch=4,
    ),
    "words": Case({"kind": "words", "window": 2}, TEXTS, ["cat", "nowhere", "cat dog the"]),
    "words hierarchical": Case(
        {"kind": "words", "method": "cbow", "output": "hierarchical"}, TEXTS, ["dog"]
    ),
    "glove": Case({"kind": "glove", "window": 3}, TEXTS, ["cat", "nowhere", "cat dog the"]),
    "embed": Case(
        {"kind": "embed"}, COLUMNS | {"train": "pairs.tsv"}, ["abc", "", "ba ba"], n_best=1
    ),
}


def write_files(folder: Path) -> None:
    words = ["abc", "bca", "cab", "ab", "ba", "ca", "ac", "a", "b", "c"]
    texts = ["The cat sat on the mat. A dog sat too.", "The dog ran home! The cat ran on a mat."]
    several = ['["x", "y"]', "x", "y"]
    tables = {
        "pairs.tsv": [f"{word}\t{word[::-1]}" for word in words],
        "one.tsv": [f"{word}\t{'yes' if 'a' in word else 'no'}\t{word[0]}" for word in words],
        "several.tsv": [f"{word}\t{several[i % 3]}\tb" for i, word in enumerate(words)],
        "numbers.tsv": [f"{word}\t{len(word) / 2}\tb" for word in words],
        "texts.txt": texts * 4,
        "tags.conll": ["the\tDET", "cat\tNOUN", "sat\tVERB", "", "a\tDET", "dog\tNOUN", ""] * 3,
        "questions.jsonl": [
            json.dumps(
                {
                    "question": "who sat?",
                    "context": "the cat sat",
                    "answers": [{"text": "cat", "answer_start": 4}] if i % 2 else [],
                }
            )
            for i in range(6)
        ],
    }
    for name, lines in tables.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    for label, shade in (("dark", 30), ("light", 220)):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(4):
            pixels = np.full((8, 8), shade + i, np.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{i}.png")


def recipe_of(name: str, family: str, folder: Path) -> Recipe:
    case = CASES[name]
    file = str(folder / case.data["train"])
    keys: dict[str, Any] = {
        "seed": 3,
        "data": case.data | {"train": file, "valid": file, "test": file},
        "objective": case.objective,
        "model": {"family": family}
        | {key: n for key, n in SMALL.items() if key in FAMILIES[family].model_fields},
        "training": {
            "steps": 4,
            "batch_tokens": case.batch,
            "precision": "float32",
            "log": "1 steps",
            "evaluate": "2 steps",
            "checkpoint": "1 steps",
            "schedule": {"kind": "constant", "lr": 1e-2, "warmup": 1},
            "average": 2,
            "samples": 1,
        },
        "generation": {"beam": 2, "max_length": 6},
        "evaluation": {"metrics": case.metrics},
    }
    if TASKS[case.objective["kind"]].reads_text:
        words, letters = {"kind": "words", "vocab_size": 64}, {"kind": "letters"}
        keys["tokenizer"] = {"shared": letters if FAMILIES[family].reads_letters else words}
        if name == "bidirectional":
            keys["tokenizer"] = {"source": letters, "target": words}
    return Recipe.model_validate(keys)


def combinations() -> list[tuple[str, str]]:
    """Cases and families that go together; a further case of an objective has one family."""
    found: list[tuple[str, str]] = []
    with TemporaryDirectory() as folder:
        write_files(Path(folder))
        for name, case in CASES.items():
            families = [family for family in FAMILIES if fits(name, family, Path(folder))]
            is_plain = name == case.objective["kind"]
            found += [(name, family) for family in (families if is_plain else families[:1])]
    return found


def fits(name: str, family: str, folder: Path) -> bool:
    recipe = recipe_of(name, family, folder)
    try:
        task = make_task(recipe, read(recipe.data, "train"))
        task.check(model_config(recipe, task).build())
    except ValueError as error:
        refused = (
            r"has no head for the objective|is no language model|is no encoder-decoder"
            r"|has no word vectors|has one vocabulary|reads no letters|of both directions"
            r"|gives vectors to words"
        )
        if not re.search(refused, str(error)):
            raise
        return False
    return True


COMBINATIONS = combinations()


class Stopped(BaseException):
    """As sudden as it gets without ending the tests."""


class StopBehind(Listener):
    """Ends the run behind a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, moment: Moment) -> None:
        if moment.step == self.step:
            raise Stopped

    def on_record(self, record: dict[str, Any]) -> None:
        pass

    def on_samples(self, samples: list[Sample]) -> None:
        pass

    def on_end(self) -> None:
        pass


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    times = {"minutes", "tokens_per_second"}
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


def assert_same_run(a: Path, b: Path) -> None:
    assert records(a) == records(b)
    last = Path("checkpoints", "step-00000004")
    for file in ("model.safetensors", last / "model.safetensors", last / "optimizer.safetensors"):
        assert (a / file).read_bytes() == (b / file).read_bytes()


def close(a: Any, b: Any) -> bool:
    """The same fields, but for the last digits of numbers."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return bool(a == pytest.approx(b, abs=1e-4)) if isinstance(a, float) else a == b


@pytest.fixture(scope="module", params=COMBINATIONS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def run(request, tmp_path_factory) -> tuple[str, Path]:
    """A case and the folder of a run of it, with data beside it and one that was stopped."""
    name, family = request.param
    home = tmp_path_factory.mktemp("run")
    write_files(home)
    recipe = recipe_of(name, family, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "draw_curves", lambda *files: None)  # which takes the longest
        train(recipe, home / "whole")
        for step in (1, 3):
            with pytest.raises(Stopped):
                train(recipe, home / "parts", resume=True, listeners=[StopBehind(step)])
        train(recipe, home / "parts", resume=True)
    return name, home


def predictor_of(run: tuple[str, Path]) -> tuple[Predictor, list[str]]:
    name, home = run
    inputs = CASES[name].inputs
    if CASES[name].objective["kind"] == "images":
        inputs = [str(home / file) for file in inputs]
    return load_predictor(home / "whole"), inputs


def test_every_objective_and_family_has_a_case():
    assert {case.objective["kind"] for case in CASES.values()} == set(TASKS)
    assert {name for name, _ in COMBINATIONS} == CASES.keys()
    assert {family for _, family in COMBINATIONS} == set(FAMILIES)


def test_a_stopped_run_goes_on_to_the_same_end(run):
    _, home = run
    assert_same_run(home / "whole", home / "parts")


def test_answers(run):
    predictor, inputs = predictor_of(run)
    heard: list[int] = []
    found = predictor.results(inputs, 1, heard.append)
    assert sum(heard) == len(inputs)
    assert [len(row) for row in found] == [1] * len(inputs)
    assert all(json.loads(json.dumps(row[0].fields)) == row[0].fields for row in found)
    called = predictor(inputs)
    if not isinstance(called[0], np.ndarray):
        assert called == [row[0].text for row in found]
        assert "".join(predictor.stream(inputs[0])) == found[0][0].text
    assert predictor.results([]) == []


def test_several_answers(run):
    predictor, inputs = predictor_of(run)
    if CASES[run[0]].n_best == 1:
        with pytest.raises(ValueError, match="has one"):
            predictor.results(inputs, 2)
        return
    found = predictor.results(inputs, 2)
    assert all(1 <= len(row) <= 2 for row in found)
    assert [row[0].text for row in found] == [row[0].text for row in predictor.results(inputs)]


def test_batched_is_single(run):
    predictor, inputs = predictor_of(run)
    for text, (together,) in zip(inputs, predictor.results(inputs), strict=True):
        ((alone,),) = predictor.results([text])
        assert close(together.fields, alone.fields)


def test_measures(run):
    name, home = run
    result = evaluate(home / "whole").as_json()
    assert set(CASES[name].metrics) <= set(result["metrics"])
    assert result["metrics"]
    assert all(np.isfinite(score["value"]) for score in result["metrics"].values())
    assert json.loads(json.dumps(result)) == result
    assert evaluate(home / "whole").as_json()["metrics"] == result["metrics"]


def test_bfloat16_is_near(run):
    """What a GPU, and a CPU with tiles, trains in by itself."""
    _, home = run
    task, network = load_task(home / "whole"), load_network(home / "whole")
    rows = next(iter(task.in_order(Store.open(home / "whole" / "store" / "train"))))
    batch = task.training_batch(rows, np.random.default_rng(0))
    wide = task.objective()(network, batch).total / batch.tokens
    with torch.autocast("cpu", torch.bfloat16):
        narrow = task.objective()(network, batch).total / batch.tokens
    narrow.backward()
    assert narrow.item() == pytest.approx(wide.item(), rel=0.03, abs=0.03)
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
