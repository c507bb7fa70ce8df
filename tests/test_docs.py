"""The documentation against the project: its links, its recipes, its table of recipe keys."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any, get_args

import pytest
import tomli_w
import torch
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sublayer.config.comparison import CompareSection, read_comparison
from sublayer.config.files import load_recipe
from sublayer.config.schema import ModelSection, Recipe, Section, TokenizerSide
from sublayer.data.pair import Pair
from sublayer.models.transformer import TransformerConfig
from sublayer.tasks import TASKS, Vocabulary
from sublayer.tasks.neighbours import check_word_files
from sublayer.text.tokenizer import Tokenizers
from sublayer.training.prepare import check_keys, model_config

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
COMPARISONS = sorted(ROOT.glob("recipes/compare/*.toml"))
RECIPES = sorted(set(ROOT.glob("recipes/**/*.toml")) - {*COMPARISONS})
REST = """
[data]
kind = "cmudict"

[training]
minutes = 5
"""
TOKENIZER = {"shared": {"kind": "characters"}}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


def shown_recipes() -> Iterator[Any]:
    for page in PAGES:
        blocks = re.findall(
            r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S
        )
        yield from (pytest.param(block, id=f"{named(page)}-{i}") for i, block in enumerate(blocks))


@pytest.mark.parametrize("block", list(shown_recipes()))
def test_a_shown_recipe_is_one(block, tmp_path):
    """A block may be some sections of a recipe; the rest is added here."""
    table = {**tomllib.loads(REST), **tomllib.loads(block)}
    kind = table.get("objective", {}).get("kind", "seq2seq")
    if TASKS[kind].reads_text and "from" not in table.get("model", {}):
        table.setdefault("tokenizer", TOKENIZER)
    path = tmp_path / "shown.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    check_recipe(path)


def shown_programs() -> Iterator[Any]:
    """Python that needs no run, no hub and no file."""
    for page in PAGES:
        blocks = re.findall(
            r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S
        )
        for i, block in enumerate(blocks):
            if not re.search(r"runs/|google-bert|recipes/|deployed|\.load\(|read\(", block):
                yield pytest.param(block, id=f"{named(page)}-{i}")


@pytest.mark.parametrize("block", list(shown_programs()))
def test_a_shown_program_runs(block):
    exec(compile(block, "shown", "exec"), {})


@pytest.mark.parametrize("path", RECIPES, ids=named)
def test_a_shipped_recipe_is_one(path):
    check_recipe(path)


@pytest.mark.parametrize("path", COMPARISONS, ids=named)
@pytest.mark.parametrize("quick", [False, True])
def test_a_shipped_comparison_is_one(path, quick):
    for cell in read_comparison(path, quick=quick).cells:
        check_model(cell.recipe)


@pytest.mark.parametrize("quick", [False, True])
def test_one_word_in_two_contexts_is_learned_from_one_text(quick, tmp_path, monkeypatch):
    """By all three models, and wherever the script is run from."""
    pytest.importorskip("matplotlib")
    script = run_path(str(ROOT / "recipes" / "compare" / "contextual.py"))
    monkeypatch.chdir(tmp_path)
    seen = set()
    for file, *changes in script["RECIPES"].values():
        recipe = load_recipe(ROOT / "recipes" / file, changes[quick])
        seen.add(recipe.data.model_dump_json())
        check_keys(recipe)
        check_word_files(recipe.evaluation, recipe.objective.kind, measured=True)
    assert len(seen) == 1
    assert '"view":"prose"' in seen.pop()


def check_recipe(path: Path) -> None:
    check_model(load_recipe(path))


def check_model(recipe: Recipe) -> None:
    """Its keys, and that objective and family go together; with `model.from`, the former."""
    if recipe.model.start is not None:  # the other keys are those of a model that is not here
        assert recipe.tokenizer is None
        return
    check_keys(recipe)
    kind = TASKS[recipe.objective.kind]
    assert kind.reads_text == (recipe.tokenizer is not None)
    pair = [Pair("a", ("b",))]
    tokenizers = None if recipe.tokenizer is None else Tokenizers.train(recipe.tokenizer, pair)
    task = kind(recipe, Vocabulary(tokenizers, ("a", "b")))
    with torch.device("meta"):
        task.check(model_config(recipe, task).build())


def shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    return "none" if default is None else f"`{json.dumps(default)}`"


def keys_of(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Dotted key and default, as docs/config.md has them, of every plain value in a section."""
    for name, field in section.model_fields.items():
        inner = [
            t for t in get_args(field.annotation) or (field.annotation,) if isinstance(t, type)
        ]
        sections = [t for t in inner if issubclass(t, Section | ModelSection)]
        name = field.alias or name
        if TokenizerSide in sections:
            yield f"{prefix}{name}", shown(field.default)
        elif sections:
            for option in sections:
                yield from keys_of(option, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", shown(field.default)


def test_every_recipe_key_and_its_default_are_documented():
    known = {*keys_of(Recipe, ""), *keys_of(TokenizerSide, "tokenizer.*.")}
    known |= set(keys_of(TransformerConfig, "model."))
    known |= set(keys_of(CompareSection, "compare."))
    # these follow from the tokenizer and are refused in a recipe
    known -= {("model.vocab_size", "required"), ("model.source_vocab_size", "none")}
    known.remove(("data.kind", '`"lines"`'))  # a default in Python; a recipe always names the kind
    known.remove(("objective.kind", "required"))  # of all kinds but the one that is the default
    table = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([\w.*]+)` \| (.+?) \|", table, flags=re.M))
    assert documented == known


@pytest.mark.parametrize("page", ["cli", "tasks"])
def test_every_objective_has_a_row_of_what_goes_in_and_out(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    table = (
        text.partition(" line in | ")[2] if page == "cli" else text.partition("| an input | ")[2]
    )
    firsts = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table.partition("\n\n")[0], flags=re.M)
    assert {name for first in firsts for name in re.findall(r"\w+", first)} == set(TASKS)
