"""Recipes: read, overridden, written back; and one clear sentence for anything wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sublayer.config import schema
from sublayer.config.files import load_recipe, write_recipe
from sublayer.config.schema import Recipe

GOOD = """
[data]
kind = "cmudict"

[tokenizer.shared]
kind = "characters"

[training]
minutes = 5
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "pronounce.toml"
    path.write_text(GOOD)
    return path


def complaint(path: Path, *overrides: str) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def test_reads_values_and_defaults(recipe):
    read = load_recipe(recipe)
    assert read.training.minutes == 5
    assert read.training.optimizer.betas == (0.9, 0.98)
    assert read.data.kind == "cmudict"


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.steps=7", "training", "steps", 7),
        ("training.minutes = 0.5", "training", "minutes", 0.5),
        ("training.log=20 steps", "training", "log", "20 steps"),
        ("training.compile=true", "training", "compile", True),
        ("model.size=base", "model", "size", "base"),
        ("model.d_model=64", "model", "d_model", 64),
        ('evaluation.metrics=["wer", "per"]', "evaluation", "metrics", ["wer", "per"]),
        ("evaluation.tokenize=a=b", "evaluation", "tokenize", "a=b"),
        (
            'training.optimizer={kind="adamw"}',
            "training",
            "optimizer",
            schema.Optimizer(kind="adamw"),
        ),
    ],
)
def test_overrides_lie_over_the_file(recipe, override, section, key, value):
    assert getattr(getattr(load_recipe(recipe, [override]), section), key) == value


def test_a_later_override_wins(recipe):
    assert load_recipe(recipe, ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.minutes=inf", "training.minutes: should be a finite number, not inf"),
        ("training.minuts=5", "training.minuts: unknown key; did you mean 'minutes'?"),
        ("traning.minutes=5", "traning: unknown key; did you mean 'training'?"),
        (
            "training.optimizer.beta=1",
            "training.optimizer.beta: unknown key; did you mean 'betas'?",
        ),
        ("data.splits.tran=1", "data.splits.tran: unknown key; did you mean 'train'?"),
        ("data.kind=tsvv", "data.kind: unknown value 'tsvv'; did you mean 'tsv'?"),
        (
            "training.precision=bf16",
            "training.precision: unknown value 'bf16'; did you mean 'bfloat16'?",
        ),
        ("training.steps=-1", "training.steps: should be greater than 0, not -1"),
        ("training.steps=true", "training.steps: should be a valid integer, not True"),
        ('training.steps="5"', "training.steps: should be a valid integer, not '5'"),
        ("training.minutes.x=1", "training.minutes: should be a valid number, not {'x': 1}"),
        ("training.optimizer=1", "training.optimizer: should be a section with keys of its own"),
        ("data=1", "data: should be a section with keys of its own"),
        ("evaluation.metrics=bleu", "evaluation.metrics: should be a valid list, not 'bleu'"),
        (
            'data={kind="tsv", train="a.tsv", source=[]}',
            "data.source: should be a valid string, not [] or should be a valid integer, not []",
        ),
        ('data={kind="lines", train=["a"]}', "data.train[1]: is missing"),
        (
            'data={kind="lines", train=["a", ""]}',
            "data.train[1]: should have at least 1 character, not ''",
        ),
        (
            'data={kind="lines", train=["a", "b", "c"]}',
            "data.train: should have at most 2 items after validation, not 3",
        ),
        (
            "data={}",
            "data.kind: is missing; known: catalogs, cmudict, conll, csv, digits, huggingface, "
            "images, jsonl, lines, parquet, po, python, squad, text, tmx, tsv",
        ),
        ("data.splits.train=80", "data.splits: train, valid and test add up to 90, not 100"),
        ("tokenizer={}", "tokenizer: give either 'shared', or both 'source' and 'target'"),
        ("training={}", "training: give the run a length: 'steps', 'epochs' or 'minutes'"),
    ],
)
def test_mistakes_are_named_with_the_nearest_key(recipe, override, words):
    assert complaint(recipe, override) == f"{recipe} with {override}: {words}"


def test_a_mistake_in_the_file_names_the_file_alone(recipe):
    recipe.write_text(GOOD.replace("minutes", "minuts"))
    assert complaint(recipe, "seed=3").splitlines()[0] == (
        f"{recipe}: training.minuts: unknown key; did you mean 'minutes'?"
    )


def test_several_mistakes_stand_one_a_line_and_the_first_few(recipe):
    lines = complaint(recipe, *(f"training.wrong{i}=1" for i in range(9))).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "and 4 more"


@pytest.mark.parametrize("override", ["minutes", "=5", "training..minutes=5", ".=1", ""])
def test_an_override_without_key_or_value(recipe, override):
    assert complaint(recipe, override) == (
        f"override {override!r} is not of the form key=value, such as training.minutes=5"
    )


def test_an_override_that_is_no_text(recipe):
    assert "cannot be shown" in complaint(recipe, "model.size=\udcff")


def test_bad_toml_names_file_and_line(recipe):
    recipe.write_text("seed = 1\nseed 2\n")
    assert complaint(recipe).startswith(f"{recipe}: not valid TOML: ")
    assert "line 2" in complaint(recipe)


def test_wrong_encoding_names_the_line(recipe):
    recipe.write_bytes("seed = 1\n# größer\n".encode("latin-1"))
    assert complaint(recipe) == f"{recipe}: line 2 is not UTF-8; save the file in that encoding"


def test_a_byte_order_mark_and_carriage_returns_are_no_mistakes(recipe):
    recipe.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_recipe(recipe).training.minutes == 5


@pytest.mark.parametrize("depth", [300, 100_000])
def test_deep_nesting(recipe, depth):
    recipe.write_text(f"model = {'[' * depth}{']' * depth}")
    assert complaint(recipe).startswith(f"{recipe}: is nested too deeply")


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "f" * 5000])
def test_a_number_beyond_all_bounds(recipe, number):
    recipe.write_text(f"seed = {number}{GOOD}")
    assert complaint(recipe) == f"{recipe}: has a number of thousands of digits"


def test_missing_file_names_the_nearest(recipe):
    near = recipe.with_name("pronunce.toml")
    assert complaint(near) == f"{near}: no such recipe; did you mean '{recipe}'?"
    alone = recipe.parent / "nowhere" / "x.toml"
    assert complaint(alone) == f"{alone}: no such recipe"


def test_a_folder_is_no_recipe(tmp_path):
    with pytest.raises(IsADirectoryError):
        load_recipe(tmp_path)


# ---- any recipe comes back as it was; any table is answered --------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
plain = st.one_of(
    st.booleans(), st.integers(-3, 300), st.floats(allow_nan=False), words, st.dates()
)
KINDS = [
    "lines",
    "tsv",
    "jsonl",
    "po",
    "tmx",
    "huggingface",
    "cmudict",
    "seq2seq",
    "adam",
    "cosine",
    "bpe",
]
CLASSES = [value for value in vars(schema).values() if isinstance(value, type)]
KEYS = sorted(
    {key for section in CLASSES if issubclass(section, BaseModel) for key in section.model_fields}
)

keys = st.one_of(st.sampled_from(KEYS), words)
values = st.recursive(
    st.one_of(plain, st.sampled_from(KINDS)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)
extras = st.dictionaries(
    words.filter(lambda name: name not in {"family", "size"}), values, max_size=3
)


def answer(path: Path, overrides: Sequence[str] = ()) -> Recipe | str:
    """The recipe or the complaint; anything else is a failure of the test."""
    try:
        return load_recipe(path, overrides)
    except ValueError as error:
        return str(error)


def check_answer(path: Path, overrides: Sequence[str] = ()) -> None:
    read = answer(path, overrides)
    if isinstance(read, Recipe):
        write_recipe(read, path)
        assert load_recipe(path) == read
    else:
        assert 1 <= len(read.splitlines()) <= 6
        assert all(line.startswith((str(path), "and ", "override ")) for line in read.splitlines())
        assert "Input" not in read


@given(
    changes=st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), values, max_size=3),
    more=extras,
)
def test_any_table_validates_or_is_answered_in_words(tmp_path_factory, changes, more):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(
        tomli_w.dumps({**tomllib.loads(GOOD), **changes, "model": more}), encoding="utf-8"
    )
    check_answer(path)


@given(
    section=st.sampled_from(["data", "tokenizer", "training"]),
    key=st.sampled_from(KEYS),
    value=values,
)
def test_any_value_of_any_key_validates_or_is_answered(tmp_path_factory, section, key, value):
    table: dict[str, Any] = tomllib.loads(GOOD)
    table[section][key] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    check_answer(path)


@given(content=st.binary(max_size=60) | st.text('[]{}"=.,\n abc01#', max_size=60).map(str.encode))
def test_any_bytes_are_answered(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    check_answer(path)


assignments = st.builds("{}={}".format, st.text(".abdt", max_size=8), st.text(max_size=10))


@given(overrides=st.lists(assignments, max_size=3))
def test_any_override_is_answered(tmp_path_factory, overrides):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(GOOD)
    check_answer(path, overrides)


splits = st.integers(1, 99).map(lambda train: schema.Splits(train=train, valid=100 - train, test=0))
datas = st.one_of(
    st.builds(schema.LinesData, train=st.tuples(words, words), test=st.lists(words, min_size=2)),
    st.builds(
        schema.TableData, kind=st.just("tsv"), train=words, source=st.integers(), splits=splits
    ),
    st.builds(schema.CatalogData, kind=st.just("po"), train=st.lists(words), splits=st.none()),
    st.builds(schema.CmudictData, kind=st.just("cmudict"), stress=st.booleans(), splits=splits),
)
trainings = st.builds(
    schema.Training,
    minutes=st.none() | st.floats(1e-9, 1e9),
    steps=st.integers(min_value=1),
    log=words,
    optimizer=st.builds(schema.Optimizer, eps=st.floats(1e-30, 1)),
)
models = st.builds(
    schema.ModelSection, size=st.none() | words, d_model=st.integers(), bias=st.booleans()
)


@given(data=datas, training=trainings, model=models)
def test_any_recipe_comes_back_as_it_was_written(tmp_path_factory, data, training, model):
    tokenizer = schema.TokenizerSection(shared=schema.TokenizerSide(kind="bpe"))
    recipe = Recipe(data=data, tokenizer=tokenizer, training=training, model=model)
    path = tmp_path_factory.getbasetemp() / "written.toml"
    write_recipe(recipe, path)
    assert load_recipe(path) == recipe
