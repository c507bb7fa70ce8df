"""From a recipe to all that a run needs before its first step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import get_args

from torch import nn

from sublayer.config.files import dump_json
from sublayer.config.schema import ModelSection, Recipe
from sublayer.data.example import Example
from sublayer.data.source import read, splits
from sublayer.data.store import Store
from sublayer.metrics import make
from sublayer.models.base import FAMILIES, FamilyConfig, configure
from sublayer.models.hub import write_config
from sublayer.tasks import TASKS, Task, Vocabulary
from sublayer.tasks.base import Notes
from sublayer.tasks.neighbours import check_word_files
from sublayer.training.begin import Begin
from sublayer.training.checkpoint import step_folders
from sublayer.training.precision import pick_device
from sublayer.training.run import Run
from sublayer.training.vectors import put_vectors


@dataclass(frozen=True)
class Job:
    """What a recipe turns into before the first step."""

    run: Run
    recipe: Recipe
    task: Task
    train: Store
    valid: Store | None
    network: nn.Module
    d_model: int
    """The width the paper's learning rate goes by."""
    anew: list[str]
    """Tensors that do not come from the model the run begins with, if it begins with one."""


def prepare(run: Run, recipe: Recipe) -> Job:
    """Tokenizers, stores and network; what a stopped run has made already is taken from its folder.

    Raises:
        ValueError: the data is not there or wrong, or the model's keys do not fit.
    """
    device = pick_device(recipe.training.device)
    kind = TASKS[recipe.objective.kind]
    check_measures(recipe)  # what is wrong in a recipe is told before an hour of tokenizing
    begin = None if recipe.model.start is None else Begin.read(recipe.model.start)
    check_keys(recipe, begin)
    if Vocabulary.exists(run.folder, text=kind.reads_text):
        task = kind(recipe, Vocabulary.load(run.folder))
    else:
        task = make_task(recipe, read(recipe.data, "train"), begin)
        task.vocabulary.save(run.folder)
    config = model_config(recipe, task, begin)
    write_config(config, recipe.model.family if begin is None else begin.family, run.folder)
    network = config.build()
    task.check(network)
    task.begin(network)
    anew = [] if begin is None else begin.put(network, config, task.vocabulary.labels)
    if recipe.model.vectors is not None and not step_folders(run.checkpoints):
        told = put_vectors(network, task.vocabulary, recipe.model.vectors)
        dump_json(told, run.vectors)
    network = network.to(device)
    stores = {
        split: Store.open(run.store(split))
        if run.store(split).exists()
        else tokenize(task, read(recipe.data, split), run.store(split))
        for split in splits(recipe.data)
        if split != "test"
    }
    if recipe.training.compile:
        for part in network.children():
            part.compile(dynamic=True)
    d_model = int(config.model_dump()["d_model"])
    return Job(run, recipe, task, stores["train"], stores.get("valid"), network, d_model, anew)


def check_measures(recipe: Recipe) -> None:
    """That what is to be measured goes with the objective, and its files are there and right.

    Raises:
        ValueError: it is not so.
    """
    kind = TASKS[recipe.objective.kind]
    make(recipe.evaluation.metrics, recipe.evaluation)
    if recipe.evaluation.metrics and not kind.takes_metrics:
        raise ValueError(
            f"evaluation.metrics: the objective '{recipe.objective.kind}' has measures of its own; "
            "leave it out"
        )
    check_word_files(recipe.evaluation, recipe.objective.kind, measured=kind.has_words)


def make_task(recipe: Recipe, examples: Iterable[Example], begin: Begin | None = None) -> Task:
    """The recipe's task, with a vocabulary learned from examples, or that of a model to begin with.

    Raises:
        ValueError: the recipe has no tokenizer where one is needed, or the examples do not fit.
    """
    kind = TASKS[recipe.objective.kind]
    given = None if begin is None else begin.tokenizers
    if kind.reads_text and recipe.tokenizer is None and given is None:
        raise ValueError(f"the objective '{recipe.objective.kind}' needs a section [tokenizer]")
    return kind(recipe, kind.learn(recipe, examples, given))


def tokenize(task: Task, examples: Iterable[Example], folder: Path) -> Store:
    """Encode examples, and keep them in `folder`, whose name is the split's.

    What is left out is counted in meta.json, as skipped_empty and skipped_long.

    Raises:
        ValueError: nothing is left, or something is wrong in the files.
    """
    notes: Notes = {}
    rows = task.encode(examples, notes)
    first = next(rows, None)
    if first is None:
        raise ValueError(
            f"nothing of the split '{folder.name}' is left: "
            f"{notes.get('skipped_empty', 0):.0f} have an empty side, "
            f"{notes.get('skipped_long', 0):.0f} are too long; "
            "correct the files, or raise max_source and max_target"
        )
    return Store.write(folder, chain([first], rows), task.ids, notes)


def check_keys(recipe: Recipe, begin: Begin | None = None) -> None:
    """That the recipe's keys of `[model]` are the family's and the recipe's to set.

    Raises:
        ValueError: the family, the size or a key is unknown, or is not the recipe's to set.
    """
    name, extra = recipe.model.family, recipe.model.model_extra or {}
    for key, follows in FOLLOWS.items():
        if key in extra:
            raise ValueError(f"model.{key} follows from {follows}")
    if recipe.tokenizer is not None and not TASKS[recipe.objective.kind].reads_text:
        raise ValueError(
            f"the objective '{recipe.objective.kind}' reads no text; leave [tokenizer] out"
        )
    if begin is not None:
        if recipe.model.vectors is not None:
            raise ValueError(
                f"model.from: {begin.where} has vectors of its own; leave model.vectors out"
            )
        if recipe.tokenizer is not None:
            raise ValueError(
                f"model.from: {begin.where} has a vocabulary of its own; leave [tokenizer] out"
            )
        if recipe.model.size is not None or name not in {ModelSection().family, begin.family}:
            raise ValueError(
                f"model.from: {begin.where} is of family {begin.family} and has its own numbers; "
                "leave model.family and model.size out"
            )
        begin.configured(extra)
        return
    family = FAMILIES[name]
    has_two = recipe.tokenizer is not None and recipe.tokenizer.shared is None
    if has_two and "source_vocab_size" not in family.model_fields:
        raise ValueError(
            f"model.family: {name} has one vocabulary; use [tokenizer.shared] in place of "
            "[tokenizer.source] and [tokenizer.target]"
        )
    some = {"vocab_size": 8, "source_vocab_size": 8} if has_two else {"vocab_size": 8}
    sizes = {key: size for key, size in some.items() if key in family.model_fields}
    configure(name, recipe.model.size, **extra, **sizes)


FOLLOWS = {
    "vocab_size": "the tokenizer; set tokenizer.*.vocab_size instead",
    "source_vocab_size": "the tokenizer; set tokenizer.*.vocab_size instead",
    "head": "the objective; leave it out",
    "n_labels": "the labels in the data; leave it out",
}


def model_config(recipe: Recipe, task: Task, begin: Begin | None = None) -> FamilyConfig:
    """The family's configuration: the recipe's keys, and those that follow from the task.

    Raises:
        ValueError: a key is unknown or out of range, or the family has nothing for the task.
    """
    check_keys(recipe, begin)
    family = recipe.model.family if begin is None else begin.family
    keys, extra = task.keys(), recipe.model.model_extra or {}
    fields = FAMILIES[family].model_fields
    needed = {key for key, field in fields.items() if field.is_required()}
    heads = get_args(fields["head"].annotation) if "head" in fields else ()
    has_head = "head" not in keys or keys["head"] in heads
    if not has_head or keys.keys() - fields.keys() or needed - keys.keys() - extra.keys():
        raise ValueError(
            f"model.family: {family} has no head for the objective '{recipe.objective.kind}'"
        )
    for key in keys.keys() & extra.keys():
        raise ValueError(f"model.{key} follows from the objective; leave it out")
    check_letters(family, task)
    if begin is not None:
        return begin.configured(extra | keys)
    return configure(family, recipe.model.size, **extra, **keys)


def check_letters(family: str, task: Task) -> None:
    """That a family which reads words by their letters is given these, and no other is.

    Raises:
        ValueError: it is not so.
    """
    tokenizers = task.vocabulary.tokenizers
    has_letters = tokenizers is not None and tokenizers.source.spelling is not None
    if FAMILIES[family].reads_letters and not has_letters:
        raise ValueError(
            f"model.family: {family} reads words by their letters; "
            "set the kind of what it reads in [tokenizer] to 'letters'"
        )
    if has_letters and not FAMILIES[family].reads_letters:
        raise ValueError(
            f"model.family: {family} reads no letters of words; "
            "use another kind than 'letters' in [tokenizer], or the family elmo"
        )
