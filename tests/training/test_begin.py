"""A run that begins with another model's weights and vocabulary."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from sublayer.config.schema import Recipe
from sublayer.models.hub import network_tensors, read_tensors, write_tensors
from sublayer.tasks import Vocabulary
from sublayer.training import start
from sublayer.training.begin import Begin
from sublayer.training.callbacks import Listener, Sample
from sublayer.training.convert import convert
from sublayer.training.every import Moment
from sublayer.training.prepare import Job, prepare
from sublayer.training.run import Run, load_predictor
from sublayer.training.start import claim, train

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "home", "to", "eat"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(WORDS)), "good", "bad", "##s"]


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    """Pictures take longer than these runs."""
    monkeypatch.setattr(start, "draw_curves", lambda *files: None)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = [" ".join(WORDS[i % 7 : i % 7 + 6]) for i in range(12)]
    (folder / "texts.txt").write_text("".join(f"{line}. {line}.\n" for line in lines))
    rows = [f"{line}\t{'good' if 'dog' in line else 'bad'}" for line in lines]
    (folder / "labels.tsv").write_text("".join(f"{row}\n" for row in rows))
    (folder / "moods.tsv").write_text("".join(f"{row[:-1]}x\n" for row in rows))
    tags = ["".join(f"{word}\t{word[0].upper()}\n" for word in line.split()) for line in lines]
    (folder / "tags.conll").write_text("\n".join(tags))
    return folder


DATA: dict[str, dict[str, Any]] = {
    "causal": {"kind": "text", "unit": "line", "train": "texts.txt"},
    "masked": {"kind": "text", "unit": "line", "train": "texts.txt"},
    "spans": {"kind": "text", "unit": "line", "train": "texts.txt"},
    "classify": {"kind": "tsv", "source": 0, "target": 1, "train": "labels.tsv"},
    "moods": {"kind": "tsv", "source": 0, "target": 1, "train": "moods.tsv"},
    "tag": {"kind": "conll", "train": "tags.conll"},
}
LENGTHS = {"causal": {"length": 16}, "masked": {"length": 24}, "spans": {"length": 24}}
SMALL = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24, "max_length": 24}


def recipe_of(kind: str, files: Path, *, tokenizer: str | None = None, **model: Any) -> Recipe:
    data = DATA[kind]
    file = str(files / data["train"])
    objective = "classify" if kind == "moods" else kind
    keys: dict[str, Any] = {
        "data": data | {"train": file, "valid": file, "max_source": 16, "max_target": 16},
        "objective": {"kind": objective} | LENGTHS.get(objective, {}),
        "model": model,
        "training": {
            "steps": 4,
            "batch_tokens": 64,
            "precision": "float32",
            "evaluate": "2 steps",
            "checkpoint": "1 steps",
            "schedule": {"kind": "constant", "lr": 1e-2, "warmup": 0},
            "samples": 1,
        },
        "generation": {"beam": 1, "max_length": 5},
    }
    if tokenizer is not None:
        keys["tokenizer"] = {"shared": {"kind": tokenizer, "vocab_size": 60}}
    return Recipe.model_validate(keys)


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    """The folder of a short run of an objective, made once."""
    made: dict[str, Path] = {}

    def run(kind: str, family: str, **model: Any) -> Path:
        name = f"{kind}-{family}"
        if name not in made:
            made[name] = tmp_path_factory.mktemp("runs") / name
            small = {k: n for k, n in SMALL.items() if (k, family) != ("max_length", "t5")}
            recipe = recipe_of(kind, files, tokenizer="words", family=family, **small, **model)
            train(recipe, made[name])
        return made[name]

    return run


@pytest.fixture
def foreign(tmp_path) -> Path:
    """A tiny BERT with its tokenizer, as transformers writes it."""
    return write_bert(tmp_path / "theirs")


def write_bert(folder: Path, kind: str = "BertForPreTraining", **keys: Any) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES))
    hf.BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    config = hf.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=24,
        **keys,
    )
    getattr(hf, kind)(config).save_pretrained(folder)
    return folder


def job_of(recipe: Recipe, folder: Path) -> Job:
    """What stands before the first step."""
    torch.manual_seed(recipe.seed)
    return prepare(claim(recipe, folder, resume=False), recipe)


def assert_equal(job: Job, tensors: dict[str, torch.Tensor], but: set[str]) -> None:
    own = network_tensors(job.network)
    assert set(job.anew) == but
    for name in own.keys() - but:
        assert torch.equal(own[name][: len(tensors[name])], tensors[name]), name


# ---- from a run ----------------------------------------------------------------------------------


def test_a_language_model_learns_to_classify(trained, files, tmp_path):
    source = trained("causal", "gpt")
    recipe = recipe_of("classify", files, **{"from": str(source)}, dropout=0.3)
    job = job_of(recipe, tmp_path / "job")
    assert_equal(job, read_tensors(source / "model.safetensors"), {"head.weight"})
    assert job.task.vocabulary.labels == ("bad", "good")
    old, new = (load_json(folder / "config.json") for folder in (source, tmp_path / "job"))
    changed = {"head": "classify", "n_labels": 2, "dropout": 0.3}
    assert new == old | changed
    train(recipe, tmp_path / "run")
    assert load_predictor(tmp_path / "run")(["the dog ran home"])[0] in {"bad", "good"}
    assert same_vocabulary(source, tmp_path / "run")


def load_json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def same_vocabulary(a: Path, b: Path) -> bool:
    return (a / "tokenizer.json").read_bytes() == (b / "tokenizer.json").read_bytes()


def test_a_masked_model_learns_to_tag(trained, files, tmp_path):
    source = trained("masked", "bert")
    recipe = recipe_of("tag", files, **{"from": str(source)})
    job = job_of(recipe, tmp_path / "job")
    assert_equal(job, read_tensors(source / "model.safetensors"), {"head.weight", "head.bias"})
    train(recipe, tmp_path / "run")
    words = load_predictor(tmp_path / "run").results(["the cat sat"])[0][0].fields["words"]
    assert words == ["the", "cat", "sat"]


@pytest.mark.parametrize("kind", ["tag", "classify"])
def test_labels_are_read_from_a_frozen_elmo(trained_elmo, files, tmp_path, kind):
    """From the mix of its layers; they themselves are after training what they were before."""
    recipe = recipe_of(kind, files, **{"from": str(trained_elmo)}, d_reader=8)
    job, source = job_of(recipe, tmp_path / "job"), read_tensors(trained_elmo / "model.safetensors")
    body = {name for name in source if not name.startswith("head.")}
    assert_equal(job, source, set(network_tensors(job.network)) - body)
    assert {name.split(".")[0] for name in job.anew} == {"pooler", "head"}
    train(recipe, tmp_path / "run")
    after = read_tensors(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(after[name], source[name]) for name in body)
    before = network_tensors(job.network)
    changed = {name for name in job.anew if not torch.equal(after[name], before[name])}
    assert {"pooler.mix.s", "pooler.mix.gamma", "head.weight"} <= changed
    predictor = load_predictor(tmp_path / "run")
    assert len(predictor(["the cat unheard-of sat"])) == 1
    told = Vocabulary.load(tmp_path / "run").tokenizers
    assert told.source.spelling is not None
    assert told.target.tokens == Vocabulary.load(trained_elmo).tokenizers.target.tokens


@pytest.fixture(scope="module")
def trained_elmo(files, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("elmo") / "run"
    keys = recipe_of("causal", files, family="elmo").model_dump(mode="json", exclude_none=True)
    small = {"d_model": 8, "d_cell": 12, "filters": [4, 4], "n_layers": 2}
    train(
        Recipe.model_validate(
            keys
            | {
                "objective": {"kind": "bidirectional", "length": 12},
                "model": {"family": "elmo"} | small,
                "tokenizer": {"source": {"kind": "letters"}, "target": {"kind": "words"}},
            }
        ),
        folder,
    )
    return folder


def test_training_goes_on(trained, files, tmp_path):
    """The same objective keeps its head, and begins where the other run ended."""
    source = trained("causal", "gpt")
    job = job_of(recipe_of("causal", files, **{"from": str(source)}), tmp_path / "job")
    assert_equal(job, read_tensors(source / "model.safetensors"), set())
    report = train(recipe_of("causal", files, **{"from": str(source)}), tmp_path / "run")
    before = json.loads((source / "report.json").read_text())
    nll = [min(f["nll"] for f in r["validation"].values()) for r in (before, report)]
    assert nll[1] < nll[0]


def test_a_head_for_other_labels_begins_anew(trained, files, tmp_path):
    source = trained("classify", "bert")
    tensors = read_tensors(source / "model.safetensors")
    same = job_of(recipe_of("classify", files, **{"from": str(source)}), tmp_path / "same")
    assert_equal(same, tensors, set())
    other = job_of(recipe_of("moods", files, **{"from": str(source)}), tmp_path / "other")
    assert_equal(other, tensors, {"head.weight", "head.bias"})
    assert not torch.equal(network_tensors(other.network)["head.weight"], tensors["head.weight"])


def test_sentinels_are_added_behind(trained, files, tmp_path):
    source = trained("spans", "transformer")
    again = job_of(recipe_of("spans", files, **{"from": str(source)}), tmp_path / "again")
    assert_equal(again, read_tensors(source / "model.safetensors"), set())
    size = len(again.task.vocabulary.text.special.sentinels)
    assert size == 100


# ---- from a folder of transformers ---------------------------------------------------------------


def test_their_folder_learns_to_classify(foreign, files, tmp_path):
    recipe = recipe_of("classify", files, **{"from": str(foreign)})
    job = job_of(recipe, tmp_path / "job")
    theirs = Begin.read(str(foreign)).tensors
    own = network_tensors(job.network)
    assert set(job.anew) == {"head.weight", "head.bias"}
    kept = own.keys() - set(job.anew)
    assert "pooler.dense.weight" in kept
    assert all(torch.equal(own[name], theirs[name]) for name in kept)
    train(recipe, tmp_path / "run")
    (found,) = load_predictor(tmp_path / "run").results(["the dog ran home"], 2)
    assert sorted(result.text for result in found) == ["bad", "good"]
    assert load_json(tmp_path / "run" / "config.json")["family"] == "bert"


def test_their_vocabulary_is_used_as_it_is(foreign, files, tmp_path):
    job = job_of(recipe_of("masked", files, **{"from": str(foreign)}), tmp_path / "job")
    text = job.task.vocabulary.text
    assert text.vocab_size == len(PIECES)
    assert text.special.mask == PIECES.index("[MASK]")
    assert_equal(job, dict(Begin.read(str(foreign)).tensors), set())
    report = train(
        recipe_of("masked", files, **{"from": str(foreign)}), tmp_path / "run"
    )  # whose samples hide words by the vocabulary's own sign
    assert report["steps"] == 4
    assert "[MASK]" not in load_predictor(tmp_path / "run")(["the [MASK] sat"])[0]


def test_a_mask_grows_the_vocabulary(trained, files, tmp_path):
    """A run without a mask is given one behind its other ids, and a row in each table."""
    source = trained("classify", "bert")
    recipe = recipe_of("masked", files, **{"from": str(source)})
    job = job_of(recipe, tmp_path / "job")
    old = read_tensors(source / "model.safetensors")
    size = len(old["embed.table.weight"])
    assert job.task.vocabulary.text.special.mask == size
    own = network_tensors(job.network)
    assert len(own["embed.table.weight"]) == size + 1
    assert torch.equal(own["embed.table.weight"][:size], old["embed.table.weight"])
    assert {name.split(".")[0] for name in job.anew} == {"head"}
    train(recipe, tmp_path / "run")
    assert "<mask>" not in load_predictor(tmp_path / "run")(["the <mask> sat"])[0]


def test_rows_to_fill_up_are_kept(files, tmp_path):
    """Published tables may have more rows than the vocabulary has ids."""
    folder = write_bert(tmp_path / "theirs")
    config = hf.BertConfig.from_pretrained(folder, vocab_size=len(PIECES) + 5)
    hf.BertForMaskedLM(config).save_pretrained(folder)
    job = job_of(recipe_of("classify", files, **{"from": str(folder)}), tmp_path / "job")
    assert len(network_tensors(job.network)["embed.table.weight"]) == len(PIECES) + 5


def test_their_head_of_the_same_labels_is_kept(files, tmp_path):
    names = {0: "bad", 1: "good"}
    same = write_bert(tmp_path / "same", "BertForSequenceClassification", id2label=names)
    job = job_of(recipe_of("classify", files, **{"from": str(same)}), tmp_path / "a")
    assert job.anew == []
    names = {0: "good", 1: "bad"}
    turned = write_bert(tmp_path / "turned", "BertForSequenceClassification", id2label=names)
    job = job_of(recipe_of("classify", files, **{"from": str(turned)}), tmp_path / "b")
    assert set(job.anew) == {"head.weight", "head.bias"}


def test_a_converted_folder(foreign, files, tmp_path):
    convert(foreign, tmp_path / "ours", "sublayer")
    recipe = recipe_of("classify", files, **{"from": str(tmp_path / "ours")})
    job = job_of(recipe, tmp_path / "job")
    theirs, own = Begin.read(str(foreign)).tensors, network_tensors(job.network)
    assert set(job.anew) == {"head.weight", "head.bias"}
    assert all(torch.equal(own[name], theirs[name]) for name in own.keys() - set(job.anew))


# ---- stopped -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("source", ["run", "theirs"])
def test_a_stopped_run_goes_on_to_the_same_end(trained, foreign, files, tmp_path, source):
    where = trained("masked", "bert") if source == "run" else foreign
    recipe = recipe_of("classify", files, **{"from": str(where)})
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "parts", listeners=[StopBehind(3)])
    train(recipe, tmp_path / "parts", resume=True)
    last = Path("checkpoints", "step-00000004")
    for file in ("model.safetensors", last / "model.safetensors", last / "optimizer.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


# ---- refused -------------------------------------------------------------------------------------


def refused(recipe: Recipe, folder: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train(recipe, folder)
    assert not Run(folder).recipe.exists()


def test_a_family_or_size_of_its_own(trained, files, tmp_path):
    where = str(trained("causal", "gpt"))
    words = "is of family gpt and has its own numbers; leave model.family and model.size out"
    for keys in ({"family": "bert"}, {"size": "tiny"}):
        refused(recipe_of("classify", files, **{"from": where}, **keys), tmp_path / "a", words)
    fine = recipe_of("classify", files, **{"from": where}, family="gpt")
    assert job_of(fine, tmp_path / "b").anew == ["head.weight"]


def test_a_vocabulary_of_its_own(trained, files, tmp_path):
    recipe = recipe_of(
        "classify", files, tokenizer="words", **{"from": str(trained("causal", "gpt"))}
    )
    refused(recipe, tmp_path / "a", r"has a vocabulary of its own; leave \[tokenizer\] out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"d_modl": 8}, "unknown key; did you mean 'd_model'"),
        ({"n_heads": 3}, "d_model 16 is not divisible by n_heads 3"),
        ({"vocab_size": 8}, "model.vocab_size follows from the tokenizer"),
        ({"n_layers": 1}, r"tensor 'stack\.blocks\.1\..*' is not part of the model"),
        ({"n_layers": 3}, r"tensor 'stack\.blocks\.2\..*' is missing"),
        ({"d_ff": 32}, r"up\.weight' is of shape \[24, 16\], the model's is of \[32, 16\]"),
        ({"max_length": 30}, r"'stack\.position\.table\.weight' is of shape \[24, 16\]"),
    ],
)
def test_other_numbers_than_the_weights_have(trained, files, tmp_path, changes, words):
    where = str(trained("masked", "bert"))
    refused(recipe_of("tag", files, **{"from": where}, **changes), tmp_path / "a", words)


def test_missing_and_odd_tensors_are_named(trained, files, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(trained("masked", "bert"), source)
    recipe = recipe_of("tag", files, **{"from": str(source)})
    whole = read_tensors(source / "model.safetensors")
    name = "stack.blocks.1.attention.layer.q.weight"
    for tensors, words in (
        ({k: t for k, t in whole.items() if k != name}, f"tensor '{name}' is missing"),
        (whole | {"odd": torch.zeros(1)}, "tensor 'odd' is not part of the model"),
        (whole | {name: torch.zeros(16, 8)}, rf"tensor '{name}' is of shape \[16, 8\]"),
    ):
        write_tensors(tensors, source / "model.safetensors")
        refused(recipe, tmp_path / "a", words)


def test_no_model(files, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(
        recipe_of("tag", files, **{"from": str(tmp_path / "empty")}),
        tmp_path / "a",
        "empty is no model: it has neither a recipe.toml nor a config.json",
    )
    refused(
        recipe_of("tag", files, **{"from": str(tmp_path / "nowhere")}),
        tmp_path / "a",
        "nowhere is no model",
    )
    refused(recipe_of("tag", files, **{"from": "some/name"}), tmp_path / "a", "is no folder here")


def test_a_run_that_is_not_finished(trained, files, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(trained("masked", "bert"), source)
    (source / "model.safetensors").unlink()
    refused(
        recipe_of("tag", files, **{"from": str(source)}), tmp_path / "a", "is not there; is .* a"
    )


def test_a_model_without_the_head(trained, files, tmp_path):
    where = str(trained("spans", "transformer"))
    words = "model.family: transformer has no head for the objective 'classify'"
    refused(recipe_of("classify", files, **{"from": where}), tmp_path / "a", words)
