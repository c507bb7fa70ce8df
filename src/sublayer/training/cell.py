"""One run of a comparison, in a process of its own: what kills it kills nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from hashlib import sha256
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sublayer.config.comparison import Budget
from sublayer.config.errors import sentence
from sublayer.config.files import atomic_folder, atomic_write, dump_json
from sublayer.config.schema import Recipe
from sublayer.data.source import Split, read, splits
from sublayer.data.store import Store
from sublayer.tasks import TASKS, Task, Vocabulary
from sublayer.training.begin import Begin
from sublayer.training.comparison_files import RESULT, read_plan
from sublayer.training.cost import Cost
from sublayer.training.display import Display
from sublayer.training.evaluate import evaluate
from sublayer.training.log import read_records
from sublayer.training.prepare import make_task, model_config, tokenize
from sublayer.training.run import Run
from sublayer.training.start import claim, train

SAMPLE = 100
"""Batches that the cost of a step is told from."""


def run_cell(root: Path, cell: str, seed: int) -> None:
    """Train one cell of the comparison in `root` with one seed, measure it, write `result.json`.

    What was begun is gone on with. The data is tokenized once for all cells that read it alike.

    Raises:
        ValueError: the recipe does not fit its data, or the loss is no longer a number.
        MemoryError: the batches do not fit.
    """
    plan = read_plan(root)
    recipe = Recipe.model_validate_json(json.dumps(plan["cells"][cell]["recipe"]), strict=True)
    recipe = recipe.model_copy(update={"seed": recipe.seed + seed})
    shared = _shared_data(recipe, root)
    cost = _cost(recipe, shared)
    recipe = _bounded(recipe, Budget.parse(plan["budget"]), cost)
    folder = root / cell / f"seed-{recipe.seed}"
    _place(shared, claim(recipe, folder, resume=True))
    report = train(recipe, folder, resume=True, listeners=[Display()])
    measured = evaluate(folder, plan["split"] or split_of(recipe), device=recipe.training.device)
    result = {
        "seed": recipe.seed,
        "parameters": report["parameters"],
        "training_flops_per_token": cost.count.training,
        "steps": report["steps"],
        "minutes": report["minutes"],
        "tokens_per_second": _rate(Run(folder)),
        "evaluation": measured.as_json(),
    }
    dump_json(result, folder / RESULT)


def split_of(recipe: Recipe) -> Split:
    """The data that a cell is measured on: test data, or validation data if there is no other.

    Raises:
        ValueError: there is neither.
    """
    given = splits(recipe.data)
    if "test" in given:
        return "test"
    if "valid" in given:
        return "valid"
    raise ValueError("[data] has neither 'test' nor 'valid' data to compare by; say where one is")


def _shared_data(recipe: Recipe, root: Path) -> Path:
    """Vocabulary and stores of all runs that read the same data in the same way."""
    parts = recipe.model_dump(mode="json", include={"data", "tokenizer", "objective", "seed"})
    key = json.dumps({**parts, "from": recipe.model.start}, sort_keys=True)
    folder = root / ".data" / sha256(key.encode()).hexdigest()[:16]
    if not folder.exists():
        begin = None if recipe.model.start is None else Begin.read(recipe.model.start)
        with atomic_folder(folder) as unfinished:
            task = make_task(recipe, read(recipe.data, "train"), begin)
            task.vocabulary.save(unfinished)
            for split in splits(recipe.data):
                if split != "test":
                    tokenize(task, read(recipe.data, split), unfinished / "store" / split)
    return folder


def _place(shared: Path, run: Run) -> None:
    """Put what is shared where a run looks for it; stores are linked, where that can be."""
    for file in sorted(shared.glob("*.json")):  # of two tokenizers the target's comes last
        if not (run.folder / file.name).exists():
            atomic_write(run.folder / file.name, file.read_bytes())
    for store in (shared / "store").iterdir():
        if run.store(store.name).exists():
            continue
        with atomic_folder(run.store(store.name)) as unfinished:
            for file in store.iterdir():
                try:
                    os.link(file, unfinished / file.name)
                except OSError:  # a file system without links
                    shutil.copyfile(file, unfinished / file.name)


def _cost(recipe: Recipe, shared: Path) -> Cost:
    task: Task = TASKS[recipe.objective.kind](recipe, Vocabulary.load(shared))
    begin = None if recipe.model.start is None else Begin.read(recipe.model.start)
    order = task.order(Store.open(shared / "store" / "train"))
    random = np.random.default_rng(recipe.seed)
    batches = [task.collate(order.rows(rows), random) for rows in islice(order.epoch(0), SAMPLE)]
    return Cost.of(model_config(recipe, task, begin).build, batches)


def _bounded(recipe: Recipe, budget: Budget, cost: Cost) -> Recipe:
    """The recipe with the budget as its length.

    Raises:
        ValueError: the budget is in FLOPs, and the model has none that are counted, or one step
            takes more.
    """
    bounds: dict[str, Any] = {"steps": None, "epochs": None, "minutes": None}
    if budget.unit == "minutes":
        bounds["minutes"] = budget.amount
    elif budget.unit == "steps":
        bounds["steps"] = int(budget.amount)
    else:
        step = cost.count.training * cost.read * recipe.training.accumulate
        if not step:
            raise ValueError(
                f"family {recipe.model.family} has no matrix products to count; "
                "give the budget in minutes or steps"
            )
        if budget.amount < step:
            raise ValueError(
                f"one step takes {step:.3g} FLOPs, and the budget is {budget}; "
                "give several times as many, or a smaller training.batch_tokens"
            )
        bounds["steps"] = round(budget.amount / step)
    training = recipe.training.model_copy(update=bounds)
    return recipe.model_copy(update={"training": training})


def _rate(run: Run) -> float:
    """Tokens a second: the median of the lines of the log."""
    rates = [r["tokens_per_second"] for r in read_records(run.metrics) if r["split"] == "train"]
    return median(rates) if rates else 0.0


def _end_with_parent() -> None:
    """The other end of stdin is open for as long as who started this process lives."""
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written to it
    os._exit(1)


def main() -> int:
    """Do what the arguments say; what was wrong goes to stdout as JSON, for who started this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by who started this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    root, cell, seed = sys.argv[1:]
    try:
        run_cell(Path(root), cell, int(seed))
    except (ValueError, OSError, MemoryError) as error:
        print(json.dumps({"error": sentence(error)}))
        return 2
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
