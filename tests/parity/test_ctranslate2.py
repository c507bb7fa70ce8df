"""Folders of transformers and runs of ours in CTranslate2: text in, the same text out."""

from __future__ import annotations

import json

import pytest
import tomli_w
import transformers as hf

import sublayer
from sublayer.tasks.foreign import vocabulary_of
from sublayer.training.convert import convert, differences

ctranslate2 = pytest.importorskip("ctranslate2")

TEXTS = ["the quick fox", "a lazy dog and the brown fox runs", "home"]
pytestmark = pytest.mark.filterwarnings("ignore:Recommended")


def check(network, folder):
    found = differences(network, folder)
    assert [d.layer for d in found] == ["log-probabilities", "greedy tokens"]
    assert max(d.largest for d in found) < 1e-4


def translated(folder, tokens):
    """What CTranslate2 makes of tokens, as ids, the end left out."""
    names = json.loads((folder / "shared_vocabulary.json").read_text())
    translator = ctranslate2.Translator(str(folder))
    result = translator.translate_batch(
        [tokens], beam_size=1, min_decoding_length=0, max_decoding_length=12
    )
    return [names.index(token) for token in result[0].hypotheses[0]]


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2"])
def test_language_models_go_on_alike(name, make_folder, tmp_path):
    make_folder(name, tmp_path / "theirs")
    check(*convert(tmp_path / "theirs", tmp_path / "deployed", "ctranslate2"))
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "deployed")
    generator = ctranslate2.Generator(str(tmp_path / "deployed"))
    ours = sublayer.load(tmp_path / "theirs", max_length=12, temperature=0.0)
    for text in TEXTS:
        tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
        result = generator.generate_batch([tokens], max_length=12, include_prompt_in_result=False)
        ids = tokenizer.convert_tokens_to_ids(tokens + result[0].sequences[0])
        written = tokenizer.decode(ids, skip_special_tokens=True)
        assert ours([text]) == [written.rstrip("\N{REPLACEMENT CHARACTER}")]


@pytest.mark.parametrize("name", ["t5", "marian"])
def test_translators_write_alike(name, make_folder, tmp_path):
    make_folder(name, tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours", "sublayer")
    for source in ("theirs", "ours"):
        network, deployed = convert(tmp_path / source, tmp_path / f"of {source}", "ctranslate2")
        check(network, deployed)
        tokenizer = vocabulary_of(network, tmp_path / "theirs").tokenizers
        for text in TEXTS:
            ids = tokenizer.source.frame(tokenizer.source.encode(text))[0]
            names = [tokenizer.source.codec.token(id) for id in ids]
            written = tokenizer.target.decode(translated(deployed, names))
            assert sublayer.load(tmp_path / source, beam=1, max_length=12)([text]) == [written]


def test_other_models_of_theirs_are_refused(make_folder, tmp_path):
    for name, words in {
        "mistral": "because of its window",
        "bert labels": "writes no text",
    }.items():
        make_folder(name, tmp_path / name)
        with pytest.raises(ValueError, match=words):
            convert(tmp_path / name, tmp_path / "deployed", "ctranslate2")
        assert not (tmp_path / "deployed").exists()


def run_of(folder, tokenizer, **model):
    (folder / "pairs.tsv").write_text("the fox\tder fuchs\na dog\tein hund\n" * 4)
    file = str(folder / "pairs.tsv")
    recipe = {
        "data": {"kind": "tsv", "source": 0, "target": 1, "train": file, "valid": file},
        "tokenizer": tokenizer,
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16} | model,
        "training": {"steps": 40, "batch_tokens": 64, "precision": "float32"},
        "evaluation": {"metrics": ["exact_match"]},
    }
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe))
    sublayer.train(folder / "recipe.toml", folder / "run")
    return folder / "run"


def test_a_run_of_ours(tmp_path):
    run = run_of(tmp_path, {"shared": {"kind": "bpe", "vocab_size": 290}})
    check(*convert(run, tmp_path / "deployed", "ctranslate2"))
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "deployed")
    for text in ("the fox", "a dog", "the dog"):
        tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
        assert tokens[-1] == "</s>"
        written = tokenizer.decode(translated(tmp_path / "deployed", tokens))
        assert sublayer.load(run, beam=1, max_length=12)([text]) == [written]


def test_a_run_of_two_vocabularies(tmp_path):
    sides = {side: {"kind": "characters", "vocab_size": 30} for side in ("source", "target")}
    run = run_of(tmp_path, sides, tied="output")
    check(*convert(run, tmp_path / "deployed", "ctranslate2"))
    files = {file.name for file in (tmp_path / "deployed").iterdir()}
    assert files == {
        "model.bin",
        "config.json",
        *(f"{side}_vocabulary.json" for side in ("source", "target")),
        *(f"tokenizer_{side}.json" for side in ("source", "target")),
    }
