"""`predict` without PyTorch: what it gives, and when it is left to PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import tomli_w

from sublayer.config.files import load_recipe, read_toml
from sublayer.config.plan import read_plan
from sublayer.surgery.pack import has_loops
from sublayer.training import answering, planned
from sublayer.training.planned import cores, load_planned
from sublayer.training.quantize import quantize_run
from sublayer.training.run import load_predictor

pytestmark = pytest.mark.skipif(not has_loops(), reason="no loops here")

WORDS = ["abc", "b", "", "cab", "ab", "bacb", "ca", "a", "bb", "cba", "acab"]
LINES = "".join(f"{word}\n" for word in WORDS)


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    """One that has a plan."""
    from sublayer import train

    folder = tmp_path_factory.mktemp("planned")
    keys = read_toml(recipe)
    keys["model"] = {"d_model": 64, "n_layers": 1, "n_heads": 2, "d_ff": 64, "norm": "pre"}
    keys["training"]["steps"] = 20
    (folder / "recipe.toml").write_text(tomli_w.dumps(keys))
    train(folder / "recipe.toml", folder / "whole")
    quantize_run(folder / "whole", folder / "run", "int8")
    return folder / "run"


@pytest.fixture
def plain(run, tmp_path):
    """The same without a plan."""
    shutil.copytree(run, tmp_path / "plain")
    (tmp_path / "plain" / "plan.json").unlink()
    return tmp_path / "plain"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["beam=1"],
        ["beam=5", "patience=1", "length_penalty=1.0"],
        ["max_length=3", "workers=2"],
        ["--n-best", "3"],
        ["--json"],
    ],
    ids=str,
)
def test_it_writes_what_pytorch_writes(run, plain, sublayer, options):
    status, out, err = sublayer("predict", run, *options, stdin=LINES.encode())
    assert (status, err) == (0, "")
    expected = sublayer("predict", plain, *options, stdin=LINES.encode())[1]
    if "--json" in options:
        for own, other in zip(out.splitlines(), expected.splitlines(), strict=True):
            own, other = json.loads(own), json.loads(other)
            for answer, wanted in zip(own.pop("outputs"), other.pop("outputs"), strict=True):
                assert answer.pop("text") == wanted.pop("text")
                assert answer == pytest.approx(wanted, abs=0.05)
            assert own == other
    elif "--n-best" in options:
        texts = [[line.split("\t")[-1] for line in said.splitlines()] for said in (out, expected)]
        assert texts[0] == texts[1]
    else:
        assert out == expected


def test_neither_pytorch_nor_numba_is_imported(run, tmp_path):
    (tmp_path / "in.txt").write_text(LINES)
    told = "import sys; from sublayer.cli.main import main; status = main();"
    told += "print(status, [name for name in ('torch', 'numba') if name in sys.modules])"
    command = [sys.executable, "-c", told, "predict", str(run), "beam=3"]
    files = ["--input", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out.txt")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"
    assert len((tmp_path / "out.txt").read_text().splitlines()) == len(WORDS)


@pytest.mark.parametrize(
    "keys",
    [
        {"fast": False},
        {"temperature": 0.5},
        {"groups": 3},
        {"prefix": "a"},
        {"stop": ["b"]},
        {"forbidden": ["b"]},
        {"repetition_penalty": 1.2},
        {"frequency_penalty": 0.1},
        {"no_repeat_ngram": 2},
        {"no_such_key": 1},
        {"beam": 0},
        {"max_length": 4097},
    ],
    ids=str,
)
def test_what_loops_do_not_know_is_left_to_pytorch(run, keys):
    assert load_planned(run, {}) is not None
    assert load_planned(run, keys) is None


def test_so_are_other_devices_and_several_processes(run, monkeypatch, tmp_path):
    assert load_planned(run, {}, device="cuda") is None
    assert load_planned(run, {}, n=4) is None
    assert load_planned(run, {"patience": 0.5}, n=2) is None
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        assert load_planned(run, {}) is None
    with monkeypatch.context() as patch:
        patch.setattr(planned, "ACCELERATORS", (str(tmp_path),))
        assert load_planned(run, {}) is None
        assert load_planned(run, {}, device="cpu") is not None


def test_what_is_not_compiled_is_where_there_is_enough_to_do(run, monkeypatch):
    from sublayer.loops import kept

    made = kept.kept_search()
    monkeypatch.setattr(kept, "kept_search", lambda: None)
    monkeypatch.setattr(kept, "made_search", lambda: made)
    assert load_planned(run, {}, inputs=999) is None
    assert load_planned(run, {}, inputs=1000) is not None
    monkeypatch.setattr(kept, "is_possible", lambda: False)
    assert load_planned(run, {}, inputs=1000) is None


def test_damage_is_told_of_by_pytorch(run, plain, sublayer, tmp_path):
    for name in ("model.safetensors", "tokenizer.json", "recipe.toml"):
        told = []
        for of in (run, plain):
            damaged = tmp_path / "damaged"
            shutil.copytree(of, damaged)
            (damaged / name).write_bytes(b"[" + (of / name).read_bytes()[:99])
            told.append(sublayer("predict", damaged, stdin=b"abc\n"))
            shutil.rmtree(damaged)
        assert told[0] == told[1]
        assert told[0][0] == 2
        assert name in told[0][2]


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": 2}'])
def test_a_plan_that_is_none_is_not_followed(run, plain, sublayer, content):
    (plain / "plan.json").write_text(content)
    assert load_planned(plain, {}) is None
    assert sublayer("predict", plain, stdin=b"abc\n")[0] == 0


def test_weights_of_another_training_are_searched_with_the_same_plan(run, plain):
    """The plan has names only."""
    shutil.copyfile(run / "plan.json", plain / "plan.json")
    from safetensors.numpy import load_file, save_file

    tensors = load_file(plain / "model.safetensors")
    tensors["head.scale"] = tensors["head.scale"][::-1].copy()
    save_file(tensors, plain / "model.safetensors")
    own = load_planned(plain, {}).results(WORDS)
    assert [row[0].text for row in own] == load_predictor(plain)(WORDS)


def test_the_same_network_with_another_objective_is_left_to_pytorch(run, tmp_path):
    assert read_plan(run) is not None
    shutil.copytree(run, tmp_path / "spans")
    file = tmp_path / "spans" / "recipe.toml"
    keys = read_toml(file)
    keys["objective"] = {"kind": "spans"}
    keys["data"] = {"kind": "text", "train": keys["data"]["train"], "valid": keys["data"]["valid"]}
    file.write_text(tomli_w.dumps(keys))
    assert load_recipe(file).objective.kind == "spans"
    assert load_planned(tmp_path / "spans", {}) is None


def test_so_are_long_sources_and_numbers_that_numpy_has_not(run, plain, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copyfile(run / "plan.json", plain / "plan.json")
    keys = read_toml(plain / "recipe.toml")
    keys["data"]["max_source"] = 100_000
    del keys["generation"]["max_length"]
    (plain / "recipe.toml").write_text(tomli_w.dumps(keys))
    assert load_planned(plain, {}) is None
    assert load_planned(plain, {"max_length": 30}) is not None
    tensors = load_file(plain / "model.safetensors")
    tensors["encoder.norm.bias"] = tensors["encoder.norm.bias"].bfloat16()
    save_file(tensors, plain / "model.safetensors")
    assert load_planned(plain, {"max_length": 30}) is None


def test_widths_that_loops_do_not_multiply_get_no_plan(recipe, tmp_path):
    from sublayer import train

    train(recipe, tmp_path / "whole")
    quantize_run(tmp_path / "whole", tmp_path / "narrow", "int8")
    assert not (tmp_path / "narrow" / "plan.json").exists()


def test_long_texts_are_cut_and_told_of(run, sublayer):
    status, out, err = sublayer("predict", run, stdin=("abc" * 200).encode() + b"\nab\n")
    assert (status, err) == (0, "sublayer: too long and cut: 1 inputs\n")
    assert len(out.splitlines()) == 2


def test_ctrl_c_and_resume(run, sublayer, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "CHUNK", 3)
    (tmp_path / "in.txt").write_text(LINES)
    whole, output = tmp_path / "whole.txt", tmp_path / "out.txt"
    sublayer("predict", run, "--input", tmp_path / "in.txt", "--output", whole)
    answer, calls = planned.PlannedPredictor.results, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*given)

    command = ("predict", run, "--input", tmp_path / "in.txt", "--output", output)
    with monkeypatch.context() as patch:
        patch.setattr(planned.PlannedPredictor, "results", interrupted)
        assert sublayer(*command)[0] == 130
    assert (tmp_path / "out.txt.part").read_text() == "".join(
        whole.read_text().splitlines(keepends=True)[:6]
    )
    assert sublayer(*command, "--resume") == (0, "", "")
    assert output.read_text() == whole.read_text()


def test_threads_are_as_many_as_the_process_may_use(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "no number")
    assert cores() >= 1
