"""From a recipe to a finished run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sublayer.config.files import dump_json, load_json, load_recipe, write_recipe
from sublayer.config.schema import Recipe
from sublayer.layers.place import device_of
from sublayer.models.base import (
    EncoderDecoder,
)
from sublayer.models.hub import put_tensors, read_config, read_tensors, write_tensors
from sublayer.scaling.memory import training_memory
from sublayer.training.allocator import keep_freed_memory
from sublayer.training.callbacks import Listener
from sublayer.training.checkpoint import mean_of, step_folders
from sublayer.training.clock import Clock
from sublayer.training.curves import draw_curves
from sublayer.training.diagnose import is_out_of_memory
from sublayer.training.precision import uses_bfloat16
from sublayer.training.prepare import Job, prepare
from sublayer.training.run import Run, set_threads
from sublayer.training.schedules import make_schedule
from sublayer.training.trainer import Trainer
from sublayer.training.validation import Validator


def train(
    recipe: Recipe, folder: Path, *, resume: bool = False, listeners: Sequence[Listener] = ()
) -> dict[str, Any]:
    """Train what a recipe says into a run folder, and give back its report.

    With `resume`, a folder that holds an unfinished run of the same recipe is taken up where it
    stopped.

    Raises:
        ValueError: the recipe does not fit its data, the folder is in use, or the loss is no
            longer a number.
        MemoryError: the batches do not fit; the message says what to change.
    """
    is_new = not Run(folder).recipe.exists()
    run = claim(recipe, folder, resume=resume)
    set_threads(recipe.training.threads)
    keep_freed_memory()
    if run.weights.exists():
        return finished_report(run)
    torch.manual_seed(recipe.seed)
    try:
        job = prepare(run, recipe)
    except (ValueError, OSError):
        if is_new:  # so that the corrected recipe finds no other's run in its way
            _clear(folder)
        raise
    trainer = Trainer(
        run,
        recipe,
        job.network,
        job.task.objective(),
        job.task.order(job.train),
        Validator.make(job.valid, job.task),
        make_schedule(recipe.training.schedule, job.d_model),
        listeners,
    )
    run.checkpoints.mkdir(exist_ok=True)
    try:
        with closing(Clock(run.clock)) as clock:
            trainer.fit(clock)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise MemoryError(_memory_advice(job)) from None
        raise
    finally:
        for listener in listeners:
            listener.on_end()
    return finish(trainer, job)


def claim(recipe: Recipe, folder: Path, *, resume: bool) -> Run:
    """Make a run folder, or take up the one of the same recipe.

    Raises:
        ValueError: the folder is in use and `resume` is off, or it is a run of another recipe.
    """
    run = Run(folder)
    if run.recipe.exists():
        if not resume:
            raise ValueError(
                f"{folder} holds a run already; "
                "add --resume to go on with it, or give another --out"
            )
        differing = differences(recipe.model_dump(), load_recipe(run.recipe, []).model_dump())
        if differing:
            raise ValueError(
                f"{folder} is a run of another recipe ({'; '.join(differing[:3])}); "
                f"go on with its own, {run.recipe}, or give another --out"
            )
    elif folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and is no run; give another --out")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_recipe(recipe, run.recipe)
    return run


def _clear(folder: Path) -> None:
    """Remove what this run has written; hidden files are somebody else's."""
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            shutil.rmtree(path)
        elif not path.name.startswith("."):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def differences(ours: dict[str, Any], theirs: dict[str, Any], at: str = "") -> list[str]:
    """In which dotted keys two tables differ, in words."""
    out = []
    for key in ours.keys() | theirs.keys():
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, f"{at}{key}.")
        elif a != b:
            out.append(f"{at}{key} is {b!r} there, {a!r} here")
    return sorted(out)


def finish(trainer: Trainer, job: Job) -> dict[str, Any]:
    """Choose the finished weights, write them with the report and the curves; the report.

    With `training.average` over 1 they are the mean of the last checkpoints, unless the best single
    one was better.
    """
    run, p, best = job.run, trainer.progress, job.recipe.training.best
    folders = step_folders(run.checkpoints)[-max(job.recipe.training.average, 1) :]
    candidates = {}
    if folders:  # a run that stops early may have none yet, but then it has a best one
        mean = f"mean of the last {len(folders)} checkpoints" if len(folders) > 1 else "last"
        candidates[mean] = mean_of(folders)
    if run.best.exists():
        candidates[f"best checkpoint, step {p.best_step}"] = read_tensors(run.best)
    scores: dict[str, float] = {}
    fields: dict[str, dict[str, Any]] = {}
    for name, tensors in candidates.items():
        put_tensors(job.network, tensors, name)
        fields[name], _ = trainer.validator.measure(
            job.network, trainer.objective, trainer.autocast
        )
        value = (fields[name] | fields[name].get("metrics", {})).get(best, 0.0)
        scores[name] = value if trainer.validator.higher_is_better else -value
    chosen = max(scores, key=scores.__getitem__)
    report = {
        "steps": p.step,
        "epochs": round(p.now.epoch, 3),
        "minutes": round(p.now.minutes, 3),
        "parameters": sum(parameter.numel() for parameter in job.network.parameters()),
        "data": {"train": job.train.meta} | ({"valid": job.valid.meta} if job.valid else {}),
        "chosen": chosen,
        "began_anew": job.anew,
        "validation": fields,
        **({"vectors": load_json(run.vectors)} if run.vectors.exists() else {}),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    dump_json(report, run.report)
    draw_curves(run.metrics, run.curves)
    write_tensors(candidates[chosen], run.weights)
    return report


def finished_report(run: Run) -> dict[str, Any]:
    """The report of a run that is over."""
    report: dict[str, Any] = load_json(run.report)
    return report


def _memory_advice(job: Job) -> str:
    """Where the memory of the largest batches goes, and what to change."""
    t, data = job.recipe.training, job.train.meta
    told = f"out of memory with training.batch_tokens = {t.batch_tokens}; "
    if isinstance(job.network, EncoderDecoder):
        source, target = (
            round(data[side] / data["pairs"]) + 1 for side in ("source_tokens", "target_tokens")
        )
        _, config = read_config(job.run.folder)
        rows = max(1, t.batch_tokens // max(source, target))
        device = device_of(job.network)
        memory = training_memory(
            config.build,
            (rows, source),
            (rows, target),
            bfloat16=uses_bfloat16(t.precision, device),
        )
        parts = (f"{name} {size / 2**20:,.0f}" for name, size in asdict(memory).items())
        told += f"a step needs about, in MiB: {', '.join(parts)}; "
    return (
        f"{told}activations grow with the batch, so halve batch_tokens and double "
        f"training.accumulate (now {t.accumulate}) for the same step, or take a smaller model"
    )
