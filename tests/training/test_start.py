"""What a run leaves, and what it refuses."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch

from sublayer.config.files import load_recipe
from sublayer.config.schema import Recipe
from sublayer.models.hub import load_network, network_tensors, read_tensors
from sublayer.training import trainer as trainer_module
from sublayer.training.checkpoint import mean_of, step_folders
from sublayer.training.evaluate import evaluate
from sublayer.training.log import read_records
from sublayer.training.prepare import check_keys
from sublayer.training.run import load_predictor
from sublayer.training.start import train


def test_run_folder_is_all_there_is(make_recipe, tmp_path):
    recipe = make_recipe()
    folder = tmp_path / "run"
    train(recipe, folder)
    moved = folder.rename(tmp_path / "moved")
    names = {path.name for path in moved.iterdir()}
    expected = {
        "recipe.toml",
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "metrics.jsonl",
    }
    assert names == expected | {"report.json", "curves.png", "store", "checkpoints"}
    assert load_recipe(moved / "recipe.toml") == recipe
    assert len(load_predictor(moved)(["abc", ""])) == 2
    records = list(read_records(moved / "metrics.jsonl"))
    assert {r["step"] for r in records if r["split"] == "train"} == {4, 8, 12, 16, 20, 24, 28, 30}
    assert {r["step"] for r in records if r["split"] == "valid"} == {10, 20, 30}


def test_finished_model_is_the_mean_or_the_best(make_recipe, tmp_path):
    report = train(make_recipe("training.average=3"), tmp_path / "run")
    last = step_folders(tmp_path / "run" / "checkpoints")
    assert [folder.name for folder in last] == ["step-00000021", "step-00000028", "step-00000030"]
    scores = {name: fields["loss"] for name, fields in report["validation"].items()}
    assert report["chosen"] == min(scores, key=scores.get)
    best = tmp_path / "run" / "checkpoints" / "best.safetensors"
    source = mean_of(last) if report["chosen"].startswith("mean") else read_tensors(best)
    finished = network_tensors(load_network(tmp_path / "run"))
    assert all(torch.equal(finished[name], source[name]) for name in finished)


def test_mean_of_checkpoints_is_the_mean(make_recipe, tmp_path):
    train(make_recipe("training.average=4"), tmp_path / "run")
    folders = step_folders(tmp_path / "run" / "checkpoints")
    states = [read_tensors(folder / "model.safetensors") for folder in folders]
    for name, mean in mean_of(folders).items():
        stacked = torch.stack([state[name] for state in states])
        torch.testing.assert_close(mean, stacked.mean(0))


@pytest.mark.parametrize(("best", "sign"), [("loss", 1), ("exact_match", -1)])
def test_best_checkpoint_by_any_metric(make_recipe, tmp_path, best, sign):
    train(make_recipe(f"training.best={best}"), tmp_path / "run")
    state = json.loads(
        (step_folders(tmp_path / "run" / "checkpoints")[-1] / "state.json").read_text()
    )
    lines = read_records(tmp_path / "run" / "metrics.jsonl")
    worth = {
        r["step"]: sign * {**r, **r.get("metrics", {})}[best]
        for r in lines
        if r["split"] == "valid"
    }
    earlier = {step: value for step, value in worth.items() if step < state["step"]}
    assert state["best_step"] == min(earlier, key=earlier.__getitem__)


def test_early_stopping(make_recipe, tmp_path):
    """A learning rate of almost nothing gets no better: the run ends after `patience` tries."""
    changes = ["training.patience=2", "training.evaluate=2 steps", "training.steps=500"]
    flat = ["training.schedule.lr=1e-30", "training.schedule.warmup=0", "training.optimizer.eps=1"]
    report = train(make_recipe(*changes, *flat), tmp_path / "run")
    assert report["steps"] == 6


def test_epochs_bound_the_run(make_recipe, tmp_path):
    report = train(make_recipe("training.steps=1000", "training.epochs=2"), tmp_path / "run")
    assert report["epochs"] == pytest.approx(2.0)


def test_accumulating_equals_one_larger_batch(make_recipe, tmp_path, monkeypatch):
    """Two batches of one step weigh by their tokens: the gradient is that of both at once."""
    recipe = make_recipe(
        "model.dropout=0", "training.steps=1", "training.accumulate=2", "training.clip=0"
    )
    seen = []
    step = trainer_module.Trainer._step

    def spy(self, batches):
        taken = []

        def kept():
            for batch in batches:
                taken.append(batch)
                yield batch

        step(self, kept())
        grads = {name: p.grad.clone() for name, p in self.network.named_parameters()}
        seen.append((self, taken, grads))

    monkeypatch.setattr(trainer_module.Trainer, "_step", spy)
    train(recipe, tmp_path / "run")
    trainer, taken, grads = seen[0]
    assert len(taken) == 2
    torch.manual_seed(recipe.seed)
    network = load_initial(tmp_path, recipe)
    total = sum(trainer.objective(network, batch).total for batch in taken)
    (total / sum(batch.tokens for batch in taken)).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, rtol=1e-4, atol=1e-6)


def load_initial(tmp_path, recipe):
    from sublayer.models.hub import read_config

    torch.manual_seed(recipe.seed)
    return read_config(tmp_path / "run")[1].build().train()


def test_evaluate_reports_scores_and_buckets(make_recipe, tmp_path):
    train(make_recipe(), tmp_path / "run")
    result = evaluate(tmp_path / "run").as_json()
    assert result["split"] == "test"
    assert result["rows"] == 40
    assert set(result["metrics"]) == {"exact_match", "per", "perplexity"}
    assert all(entry["signature"] for entry in result["metrics"].values())
    assert sum(bucket["rows"] for bucket in result["by_source_length"]["per"]) == 40


def test_evaluate_other_files(make_recipe, recipe_file, tmp_path):
    train(make_recipe(), tmp_path / "run")
    result = evaluate(tmp_path / "run", files=[str(recipe_file.parent / "valid.tsv")])
    assert result.outcome.rows == 40
    assert math.isfinite(result.outcome.metrics["perplexity"].value)


# ---- what is refused -----------------------------------------------------------------------------


def test_folder_in_use(make_recipe, tmp_path):
    train(make_recipe("training.steps=2"), tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already; add --resume"):
        train(make_recipe("training.steps=2"), tmp_path / "run")
    with pytest.raises(ValueError, match=r"training\.steps is 2 there, 3 here"):
        train(make_recipe("training.steps=3"), tmp_path / "run", resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and is no run"):
        train(make_recipe(), tmp_path / "other")


def test_model_keys_are_checked_before_the_data(make_recipe, tmp_path):
    for change, message in (
        ("model.d_modl=8", "unknown key; did you mean 'd_model'"),
        ("model.d_model=10", "sinusoidal|divisible"),
        ("model.n_heads=3", "d_model 16 is not divisible by n_heads 3"),
        ("model.d_model=0", "greater than 0"),
        ("model.n_layers=-1", "greater than 0"),
        ("model.vocab_size=99", "follows from the tokenizer"),
        ("model.family=gtp", "unknown model family 'gtp'; did you mean 'gpt'"),
        ("model.size=tny", "did you mean 'tiny'"),
        ("model.family=transfomer", "did you mean 'transformer'"),
        ("training.best=blue", "did you mean 'bleu'"),
        ('evaluation.metrics=["blue"]', "did you mean 'bleu'"),
        ("training.evaluate=sometimes", "is no interval"),
    ):
        recipe = (
            make_recipe(change)
            if change != "model.d_model=10"
            else make_recipe(change, "model.n_heads=4")
        )
        with pytest.raises(ValueError, match=message):
            train(recipe, tmp_path / re.sub(r"\W", "", change))


def test_what_fails_before_the_first_step_leaves_nothing(make_recipe, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="there is no file"):
        train(make_recipe("data.valid=gone.tsv", "training.steps=1"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(make_recipe("training.steps=1"), tmp_path / "run")


def test_more_tokens_than_places(make_recipe, tmp_path):
    recipe = make_recipe("model.position=learned", "model.max_length=20", "data.max_source=20")
    with pytest.raises(
        ValueError, match="has places for 20 tokens, with ends the data may have 257"
    ):
        train(recipe, tmp_path / "run")


def test_unfinished_or_damaged_run(make_recipe, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="is no folder"):
        load_predictor(folder)
    train(make_recipe("training.steps=2"), folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(ValueError, match="damaged"):
        load_predictor(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="is not finished; go on with"):
        load_predictor(folder)
    (folder / "recipe.toml").unlink()
    with pytest.raises(ValueError, match="is no run"):
        load_predictor(folder)


def test_damaged_checkpoint_is_named(make_recipe, tmp_path):
    folder = tmp_path / "run"
    train(make_recipe("training.steps=8"), folder)
    (folder / "model.safetensors").unlink()
    last = step_folders(folder / "checkpoints")[-1]
    (last / "optimizer.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"optimizer\.safetensors is damaged"):
        train(make_recipe("training.steps=8"), folder, resume=True)


def test_loss_that_is_no_number_names_the_first_bad_module(make_recipe, tmp_path, monkeypatch):
    from sublayer.layers.feedforward import FeedForward

    forward = FeedForward.forward
    calls = 0

    def spoiled(self, x):
        nonlocal calls
        calls += 1
        return forward(self, x) * (float("nan") if calls > 6 else 1.0)

    monkeypatch.setattr(FeedForward, "forward", spoiled)
    with pytest.raises(
        ValueError, match=r"step 4: .* first bad: output of encoder\.blocks\.0\.feedforward\.layer"
    ) as error:
        train(make_recipe("training.evaluate=100 %"), tmp_path / "run")
    # a run goes on with its own recipe only, and what is to be changed is in it
    assert str(error.value).endswith("or train in float32, and give another --out")
    with pytest.raises(ValueError, match="is a run of another recipe"):
        train(make_recipe("training.schedule.lr=1e-4"), tmp_path / "run", resume=True)


def test_out_of_memory_says_what_to_change(make_recipe, tmp_path, monkeypatch):
    def full(self, batches):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer_module.Trainer, "_step", full)
    with pytest.raises(MemoryError, match=r"training\.batch_tokens = 200.*halve batch_tokens"):
        train(make_recipe(), tmp_path / "run")


def test_a_family_of_one_vocabulary_wants_one_tokenizer():
    tokenizers = {"source": {"kind": "characters"}, "target": {"kind": "words"}}
    recipe = Recipe.model_validate(
        {
            "data": {"kind": "cmudict"},
            "tokenizer": tokenizers,
            "model": {"family": "t5", "size": "tiny"},
            "training": {"steps": 1},
        }
    )
    with pytest.raises(ValueError, match=r"t5 has one vocabulary; use \[tokenizer\.shared\]"):
        check_keys(recipe)
