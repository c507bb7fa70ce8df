"""How a recipe and lists of values become cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from sublayer.config.comparison import Budget, read_comparison
from sublayer.config.files import load_recipe

RECIPE = """
[data]
kind = "cmudict"

[tokenizer.shared]
kind = "characters"

[model]
d_model = 32
n_heads = 4

[training]
minutes = 5
"""
STEPS = Budget(10.0, "steps")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def write(file: Path, text: str) -> Path:
    path = file.with_name("compare.toml")
    path.write_text(text)
    return path


def test_every_combination_is_a_cell(file):
    found = read_comparison(file, ["model.n_heads=1,2", "model.norm=pre,post"], budget=STEPS)
    assert [cell.name for cell in found.cells] == [
        "n_heads=1 norm=pre",
        "n_heads=1 norm=post",
        "n_heads=2 norm=pre",
        "n_heads=2 norm=post",
    ]
    last = found.cells[-1]
    assert last.changes == {"model.n_heads": 2, "model.norm": "post"}
    assert last.recipe.model.model_extra == {"d_model": 32, "n_heads": 2, "norm": "post"}
    assert last.folder == "n_heads=2-norm=post"
    assert found.seeds == 3
    assert found.budget == STEPS


def test_one_value_is_for_all_cells_and_makes_no_name(file):
    found = read_comparison(file, ["model.norm=pre,post", "training.threads=1"], budget=STEPS)
    assert [cell.name for cell in found.cells] == ["norm=pre", "norm=post"]
    assert all(cell.recipe.training.threads == 1 for cell in found.cells)


def test_the_later_of_two_for_one_key_wins(file):
    one = read_comparison(file, ["training.clip=1,2", "training.clip=3"], budget=STEPS)
    assert [cell.recipe.training.clip for cell in one.cells] == [3]
    two = read_comparison(file, ["training.clip=3", "training.clip=1,2"], budget=STEPS)
    assert [cell.recipe.training.clip for cell in two.cells] == [1, 2]


def test_a_grid_that_the_command_line_replaces_may_be_empty(file):
    path = write(file, RECIPE + '[compare]\nbudget = "1 step"\ngrid = { model.norm = [] }\n')
    both = read_comparison(path, ["model.norm=pre,post"])
    assert [cell.name for cell in both.cells] == ["norm=pre", "norm=post"]
    assert [cell.name for cell in read_comparison(path, ["model.norm=pre"]).cells] == ["compare"]


LENGTH = "training.%s does nothing in a comparison: the budget takes its place; leave it out"


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["training.steps=1,2"], "steps"),
        (["training.minutes=3"], "minutes"),
        (["training={epochs=1},{epochs=2}"], "epochs"),
        (["training={steps=5,batch_tokens=64}"], "steps"),
    ],
)
def test_a_length_is_no_key_on_the_command_line(file, overrides, key):
    with pytest.raises(ValueError, match=LENGTH % key):
        read_comparison(file, overrides, budget=STEPS)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("grid = { training.steps = [1, 2] }", "steps"),
        ("cells = [{ name = 'long', training.epochs = 9 }]", "epochs"),
        ("quick = { budget = '1 step', changes = { training.minutes = 1 } }", "minutes"),
    ],
)
def test_a_length_is_no_key_in_a_file(file, section, key):
    path = write(file, f'{RECIPE}[compare]\nbudget = "1 step"\n{section}\n')
    with pytest.raises(ValueError, match=LENGTH % key):
        read_comparison(path, quick="quick" in section)


def test_a_section_that_is_laid_over_whole_needs_no_length(file):
    (cell,) = read_comparison(file, ["training={batch_tokens=64}"], budget=STEPS).cells
    assert cell.recipe.training.batch_tokens == 64


def test_seeds_are_no_cells(file):
    with pytest.raises(ValueError, match="seed is no key to compare by; --seeds 3 varies it"):
        read_comparison(file, ["seed=1,2"], budget=STEPS)
    (cell,) = read_comparison(file, ["seed=7"], budget=STEPS).cells
    assert cell.recipe.seed == 7


def test_a_long_name_is_a_short_folder_of_its_own(file):
    names = [300 * "ä" + end for end in "ab"]
    cells = ", ".join(f"{{ name = '{name}' }}" for name in names)
    path = write(file, f'{RECIPE}[compare]\nbudget = "1 step"\ncells = [{cells}]\n')
    one, two = read_comparison(path).cells
    assert [one.name, two.name] == names
    assert one.folder != two.folder
    assert {folder[:90] for folder in (one.folder, two.folder)} == {90 * "ä"}
    assert all(len(cell.folder.encode()) <= 200 for cell in (one, two))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[0.9,0.98],[0.9,0.999]", [(0.9, 0.98), (0.9, 0.999)]),
        ("[ 0.9 , 0.98 ]", [(0.9, 0.98)]),
    ],
)
def test_commas_inside_of_lists_part_nothing(file, text, values):
    found = read_comparison(file, [f"training.optimizer.betas={text}"], budget=STEPS)
    assert [cell.recipe.training.optimizer.betas for cell in found.cells] == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b", ["a", "b"]),
        ("'a,b',c", ["a,b", "c"]),
        ('"a\\",b",c', ['a",b', "c"]),
        (r"'a\',b", ["a\\", "b"]),
        ("don't,do", ["don't", "do"]),
        ("a , b", ["a", "b"]),
    ],
)
def test_quotes_keep_commas(file, text, values):
    found = read_comparison(file, [f"generation.prefix={text}"], budget=STEPS)
    assert [cell.recipe.generation.prefix for cell in found.cells] == values


def test_tables_are_values_too(file):
    schedules = "{kind='cosine',lr=1e-3},{kind='linear',lr=2e-3}"
    found = read_comparison(file, [f"training.schedule={schedules}"], budget=STEPS)
    assert [cell.recipe.training.schedule.lr for cell in found.cells] == [1e-3, 2e-3]


def test_cells_of_a_file_times_its_grid(file):
    path = write(
        file,
        RECIPE
        + """
[compare]
budget = "1e12 FLOPs"
seeds = 2
split = "valid"

[compare.grid]
model.norm = ["pre", "post"]

[[compare.cells]]
name = "wide"
model.d_model = 64

[[compare.cells]]
name = "many heads"
model = { n_heads = 8 }
""",
    )
    found = read_comparison(path)
    assert [cell.name for cell in found.cells] == [
        "wide norm=pre",
        "wide norm=post",
        "many heads norm=pre",
        "many heads norm=post",
    ]
    extra = [cell.recipe.model.model_extra for cell in found.cells]
    assert extra[0] == {"d_model": 64, "n_heads": 4, "norm": "pre"}
    assert extra[3] == {"d_model": 32, "n_heads": 8, "norm": "post"}
    assert (found.budget, found.seeds, found.split) == (Budget(1e12, "flops"), 2, "valid")


def test_a_file_may_lie_over_a_base(file):
    section = '[compare]\nbase = "recipe.toml"\nbudget = "1 step"\n'
    path = write(file, f"[model]\nd_model = 64\n{section}")
    (cell,) = read_comparison(path).cells
    assert cell.name == "compare"
    assert cell.recipe.model.model_extra == {"d_model": 64, "n_heads": 4}


def test_quick_has_a_budget_seeds_and_changes_of_its_own(file):
    path = write(
        file,
        RECIPE
        + """
[compare]
budget = "10 minutes"
grid = { model.norm = ["pre", "post"] }
quick = { budget = "20 steps", changes = { training.schedule.warmup = 7 } }
""",
    )
    quick, whole = read_comparison(path, quick=True), read_comparison(path)
    assert (quick.budget, quick.seeds) == (Budget(20.0, "steps"), 1)
    assert (whole.budget, whole.seeds) == (Budget(10.0, "minutes"), 3)
    assert [c.recipe.training.schedule.warmup for c in quick.cells] == [7, 7]
    given = read_comparison(path, ["training.schedule.warmup=9"], quick=True, seeds=4)
    assert [c.recipe.training.schedule.warmup for c in given.cells] == [9, 9]
    assert given.seeds == 4


@pytest.mark.parametrize(
    ("text", "budget", "told"),
    [
        ("10 minutes", Budget(10.0, "minutes"), "10 minutes"),
        ("0.5 min", Budget(0.5, "minutes"), "0.5 minutes"),
        ("12345678 steps", Budget(12345678.0, "steps"), "12345678 steps"),
        ("0.00001 minutes", Budget(1e-5, "minutes"), "1e-05 minutes"),
        ("1e-3 minutes", Budget(1e-3, "minutes"), "0.001 minutes"),
        ("1.5e15 FLOPs", Budget(1.5e15, "flops"), "1.5e+15 FLOPs"),
    ],
)
def test_budgets(text, budget, told):
    assert Budget.parse(text) == budget
    assert str(budget) == told
    assert Budget.parse(told) == budget


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "ten steps",
        "-1 steps",
        "0 steps",
        "1.5 steps",
        "1e999 flops",
        "1e-999 min",
        "1e-3 steps",
        "1.2.3 min",
    ],
)
def test_no_budgets(text):
    with pytest.raises(ValueError, match="is no budget"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.norm=pre,"], "'model.norm=pre,' has an empty value; write key=a,b"),
        (["model.norm="], "has an empty value"),
        (["model.norm"], "not of the form key=value"),
        (["model.norm=pre,pre"], "cell 'norm=pre' is there twice"),
        (["training.batch_tokens=8,x"], "cell 'batch_tokens=x': .*training.batch_tokens"),
        (["trianing.steps=1,2"], "cell 'steps=1': .*unknown key; did you mean 'training'"),
        (
            [f"model.{key}={','.join(map(str, range(11)))}" for key in ("a", "b", "c")],
            "1,331 cells are more than 1,000",
        ),
    ],
)
def test_mistakes_in_lists_of_values(file, overrides, message):
    with pytest.raises(ValueError, match=message):
        read_comparison(file, overrides, budget=STEPS)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("", "has no budget; give --minutes"),
        ('budget = "soon"', "'soon' is no budget"),
        ('budjet = "1 step"', r"\[compare\]: budjet: unknown key"),
        ("seeds = 0", r"\[compare\]: seeds"),
        ("grid = { model.norm = [] }", "compare.grid.model.norm is .*give a list"),
        ('grid = { model.norm = "pre" }', "compare.grid.model.norm is 'pre'; give a list"),
        ("cells = [{ model.norm = 'pre' }]", "cell 1 of .* has no name"),
        ("cells = [{ name = 'a', seed = 1 }, { name = 'a', seed = 2 }]", "'a' is there twice"),
        ("cells = [{ name = '???' }]", r"cell '\?\?\?' has nothing in its name that a folder"),
        ('base = "nothing.toml"', "no such recipe"),
        ('base = "compare.toml"', "is a comparison; name a recipe"),
    ],
)
def test_mistakes_in_a_file(file, section, message):
    budget = "" if "budget" in section or not section else 'budget = "1 step"\n'
    path = write(file, f"{RECIPE}[compare]\n{budget}{section}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_comparison(path)


def test_a_comparison_is_no_recipe(file):
    with pytest.raises(ValueError, match="is a comparison; give it to `sublayer compare`"):
        load_recipe(write(file, f"{RECIPE}[compare]\n"))


def test_quick_needs_a_section(file):
    with pytest.raises(ValueError, match=r"no \[compare.quick\]; give --minutes or --budget"):
        read_comparison(file, quick=True)
