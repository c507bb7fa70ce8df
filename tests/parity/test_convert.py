"""Folders of transformers loaded and converted: equal by layers, exact there and back."""

from __future__ import annotations

import json
import shutil

import pytest
import tomli_w
import torch
import transformers as hf

import sublayer
from sublayer.models.huggingface import read_network, read_pickle, write_network
from sublayer.models.verify import LARGEST, compare
from sublayer.tasks.answer import Answers
from sublayer.tasks.classify import Labels
from sublayer.tasks.embed import Vectors
from sublayer.tasks.images import ImageLabels
from sublayer.tasks.language import TextGoesOn
from sublayer.tasks.masked import Fills
from sublayer.tasks.seq2seq import TextToText
from sublayer.tasks.tag import Tags
from sublayer.training.convert import convert, differences

USES = {
    "bert bare": Vectors,
    "bert labels": Labels,
    "bert tags": Tags,
    "roberta tags": Tags,
    "bert answers": Answers,
    "roberta answers": Answers,
    "gpt2": TextGoesOn,
    "gpt2 tags": Tags,
    "gpt2 labels": Labels,
    "llama": TextGoesOn,
    "mistral": TextGoesOn,
    "qwen2": TextGoesOn,
    "t5": TextToText,
    "marian": TextToText,
    "vit": ImageLabels,
}
pytestmark = pytest.mark.filterwarnings("ignore:Recommended")


def test_there_and_back(foreign, tmp_path):
    name, _, folder = foreign
    found = differences(*convert(folder, tmp_path / "ours", "sublayer"))
    layers = [d for d in found if " " in d.layer]
    assert len(layers) == (4 if name in {"t5", "marian"} else 2)
    assert len(found) > len(layers)
    assert max(d.largest for d in found) < LARGEST
    convert(tmp_path / "ours", tmp_path / "back", "huggingface")
    for file in folder.rglob("*"):
        if file.is_file():
            back = tmp_path / "back" / file.relative_to(folder)
            assert back.read_bytes() == file.read_bytes(), file.name


def test_it_is_used_for_what_it_is_made_for(foreign, tmp_path):
    name, _, folder = foreign
    if name == "vit bare":
        with pytest.raises(ValueError, match="has no head for labels"):
            sublayer.load(folder)
        return
    assert isinstance(sublayer.load(folder), USES.get(name, Fills))
    convert(folder, tmp_path / "ours", "sublayer")
    assert isinstance(sublayer.load(tmp_path / "ours"), USES.get(name, Fills))


def test_half_precision_comes_back(make_folder, tmp_path):
    theirs = make_folder("llama", tmp_path / "full").bfloat16()
    shutil.copytree(tmp_path / "full", tmp_path / "half")
    theirs.save_pretrained(tmp_path / "half")
    convert(tmp_path / "half", tmp_path / "ours", "sublayer")
    convert(tmp_path / "ours", tmp_path / "back", "huggingface")
    file = "model.safetensors"
    assert (tmp_path / "back" / file).read_bytes() == (tmp_path / "half" / file).read_bytes()


def test_parts_become_one_file(make_folder, tmp_path):
    theirs = make_folder("gpt2", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "parts")
    (tmp_path / "parts" / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    convert(tmp_path / "parts", tmp_path / "back", "huggingface")
    assert not list((tmp_path / "back").glob("*.index.json"))
    file = "model.safetensors"
    assert (tmp_path / "back" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()


def test_a_pickle_of_tensors_alone_is_read_when_asked(make_folder, tmp_path):
    theirs = make_folder("gpt2", tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"`sublayer convert .* NEW --pickle` reads it"):
        convert(tmp_path / "old", tmp_path / "new", "huggingface")
    assert not (tmp_path / "new").exists()
    found = differences(*convert(tmp_path / "old", tmp_path / "new", "huggingface", read_pickle))
    assert max(d.largest for d in found) < LARGEST
    torch.save({"a": pytest.raises}, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="is damaged, or holds more than tensors"):
        read_pickle(tmp_path / "old")
    with pytest.raises(ValueError, match="leave --pickle out"):
        read_pickle(tmp_path / "new")


def test_a_wrong_weight_shows_in_its_layer(foreign):
    _, _, folder = foreign
    network, theirs = convert(folder, folder.parent / "ours", "sublayer")
    stacks = [m for m in network.modules() if type(m).__name__ == "Stack"]
    with torch.no_grad():
        next(iter(stacks[-1].blocks[-1].parameters())).mul_(2)
    assert max(d.largest for d in compare(network, theirs)) > LARGEST


def test_sentences_of_another_kind_are_refused(make_folder, tmp_path):
    make_folder("bert bare", tmp_path)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    more = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    dense = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True})
    )
    (tmp_path / "modules.json").write_text(json.dumps([*modules, more]))
    assert sublayer.load(tmp_path).pooling == "first"
    (tmp_path / "modules.json").write_text(json.dumps([*modules, more, dense]))
    with pytest.raises(ValueError, match="a module 'Dense' is not supported"):
        sublayer.load(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_max_tokens": True})
    )
    with pytest.raises(ValueError, match="only the mean or the first"):
        sublayer.load(tmp_path)


def test_a_name_that_cannot_be_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match="no-one/nothing is no folder here, and the Hugging Face hub"
    ):
        sublayer.load("no-one/nothing")
    with pytest.raises(ValueError, match="nothing is no folder"):
        sublayer.load("nothing")


def test_an_end_may_be_one_of_several(make_folder, tmp_path):
    make_folder("llama", tmp_path)
    (tmp_path / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [0, 7], "do_sample": True})
    )
    ours = sublayer.load(tmp_path, seed=3)
    assert ours.continuer.stops.ends == (0, 7)
    assert (ours.continuer.options.temperature, ours.continuer.options.top_k) == (1.0, 50)


DOCUMENTS = "the quick brown fox jumps over a lazy dog . it runs home .\n\n" * 6
RUNS = {
    "gpt": (
        {"kind": "causal", "length": 8},
        {"family": "gpt", "d_model": 16, "n_layers": 2, "n_heads": 2, "max_length": 64},
        "bpe",
    ),
    "llama": (
        {"kind": "causal", "length": 8},
        {"family": "llama", "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24},
        "wordpiece",
    ),
    "bert": (
        {"kind": "masked", "length": 60, "pairs": "next"},
        {"family": "bert", "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24},
        "bpe",
    ),
}
SEQ2SEQ = {
    "marian": {"family": "marian", "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24},
    "t5": {"family": "t5", "d_model": 16, "n_layers": 2, "n_heads": 2, "d_head": 8, "d_ff": 24},
}


def train(folder, data, objective, model, kind):
    """A run of two steps."""
    recipe = {
        "data": data,
        "objective": objective,
        "tokenizer": {"shared": {"kind": kind, "vocab_size": 300}},
        "model": model,
        "training": {"steps": 2, "batch_tokens": 64, "precision": "float32"},
        "generation": {"beam": 2, "max_length": 6},
    }
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe))
    sublayer.train(folder / "recipe.toml", folder / "run")
    return folder / "run"


@pytest.fixture(params=RUNS)
def trained(request, tmp_path):
    (tmp_path / "text.txt").write_text(DOCUMENTS.replace(" . ", ". "))
    file = str(tmp_path / "text.txt")
    data = {"kind": "text", "unit": "line", "train": file, "valid": file}
    return request.param, train(tmp_path, data, *RUNS[request.param])


def test_a_run_of_ours_in_transformers(trained, tmp_path):
    name, run = trained
    found = differences(*convert(run, tmp_path / "theirs", "huggingface"))
    assert max(d.largest for d in found) < LARGEST
    ours = sublayer.load(run)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    kind = hf.AutoModelForPreTraining if name == "bert" else hf.AutoModelForCausalLM
    theirs = kind.from_pretrained(tmp_path / "theirs").eval()
    text, own = "the quick fox", ours.vocabulary.text
    ids = tokenizer(text, return_tensors="pt")
    framed = own.frame(own.encode(text))[0]
    assert ids["input_ids"][0].tolist() == (framed if name == "bert" else framed[:-1])
    with torch.no_grad():
        out = theirs(**ids)
        logits = out.prediction_logits if name == "bert" else out.logits
        torch.testing.assert_close(ours.network(ids["input_ids"]), logits, atol=1e-5, rtol=1e-5)
    again = sublayer.load(tmp_path / "theirs")
    assert type(again) is type(ours)
    if name == "bert":
        assert again(["the quick <mask> jumps"]) == ours(["the quick <mask> jumps"])
    else:
        assert again.continuer.tokenizer.opening == own.opening


@pytest.mark.parametrize("family", SEQ2SEQ)
def test_a_translator_of_ours_in_transformers(family, tmp_path):
    (tmp_path / "pairs.tsv").write_text("the fox\tfox the\na dog\tdog a\n" * 4)
    file = str(tmp_path / "pairs.tsv")
    data = {"kind": "tsv", "source": 0, "target": 1, "train": file, "valid": file}
    run = train(tmp_path, data, {"kind": "seq2seq"}, SEQ2SEQ[family], "bpe")
    found = differences(*convert(run, tmp_path / "theirs", "huggingface"))
    assert max(d.largest for d in found) < LARGEST
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    theirs = hf.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs").eval()
    ids = tokenizer("the fox", return_tensors="pt", return_token_type_ids=False)
    out = theirs.generate(**ids, num_beams=1, forced_eos_token_id=None, suppress_tokens=[0, 1])
    expected = tokenizer.decode(out[0], skip_special_tokens=True)
    assert sublayer.load(run, beam=1)(["the fox"]) == [expected]
    assert sublayer.load(tmp_path / "theirs", beam=1)(["the fox"]) == [expected]
    with pytest.raises(ValueError, match="is in our own form already; add --to huggingface"):
        convert(run, tmp_path / "again", "sublayer")


def test_positions_that_are_counted_from_another_padding_are_refused(make_folder, tmp_path):
    make_folder("roberta", tmp_path / "theirs")
    family, config, network = read_network(tmp_path / "theirs")
    with pytest.raises(ValueError, match="must have the id 1, but this vocabulary has 0"):
        write_network(network, family, config, tmp_path / "new", {"pad_token_id": 0})
