"""Folders of transformers that are odd or not whole: what they compute, or why they are refused."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import sublayer
from sublayer.models import snapshot
from sublayer.models.base import configure
from sublayer.models.huggingface import read_network, read_pickle, write_network
from sublayer.models.rope import Scaling
from sublayer.tasks.foreign import generation_of
from sublayer.training.convert import convert

ROPE = {"rope_theta": 5000.0, "rope_type": "dynamic", "factor": 4.0}
LLAMA = {"max_position_embeddings": 32}
WEIGHTS, KEYS = "model.safetensors", "config.json"


def change_keys(folder, change=None, remove=()):
    keys = json.loads((folder / KEYS).read_text())
    keys = {key: value for key, value in keys.items() if key not in remove} | (change or {})
    (folder / KEYS).write_text(json.dumps(keys))


def change_tensors(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def assert_alike(theirs, folder, length, valid=None):
    """The same logits past the trained length too, but where `valid` is false."""
    ids = torch.randint(3, 25, (2, length))
    if valid is not None:
        ids = ids.where(valid, torch.tensor(theirs.config.pad_token_id))
    with torch.no_grad():
        kept = torch.ones_like(ids, dtype=torch.bool) if valid is None else valid
        expected = theirs(ids, attention_mask=kept.long()).logits
        logits = read_network(folder)[2](ids, kept)
    torch.testing.assert_close(logits[kept], expected[kept], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("more", [{}, {"original_max_position_embeddings": 16}])
def test_dynamic_scaling_counts_from_where_theirs_does(make_folder, tmp_path, more):
    theirs = make_folder("llama", tmp_path, **LLAMA, rope_parameters=ROPE | more)
    assert_alike(theirs, tmp_path, 48)
    assert read_network(tmp_path)[1].scaling.trained == 32


def test_dynamic_scaling_from_elsewhere_is_not_written(tmp_path):
    scaling = {"kind": "dynamic", "factor": 4.0, "trained": 16}
    config = configure("llama", "tiny", vocab_size=30, max_length=64, scaling=scaling)
    with pytest.raises(ValueError, match=r"with scaling\.trained = 16 and max_length = 64"):
        write_network(config.build(), "llama", config, tmp_path)
    config = configure("llama", "tiny", vocab_size=30, max_length=16, scaling=scaling)
    network = config.build().eval()
    write_network(network, "llama", config, tmp_path)
    ids = torch.randint(30, (2, 40))
    with torch.no_grad():
        expected = hf.LlamaForCausalLM.from_pretrained(tmp_path)(ids).logits
        torch.testing.assert_close(network(ids), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "other", "kept"),
    [
        ("marian", "lm_head.weight", "model.shared.weight"),
        ("t5", "decoder.embed_tokens.weight", "shared.weight"),
        ("gpt2", "lm_head.weight", "transformer.wte.weight"),
        ("bert masked", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ],
)
def test_what_is_one_here_must_not_differ(make_folder, tmp_path, name, other, kept):
    make_folder(name, tmp_path)
    change_tensors(tmp_path, lambda tensors: tensors.update({other: tensors[kept].clone()}))
    before = read_network(tmp_path)[2]
    change_tensors(tmp_path, lambda tensors: tensors[other].add_(1.0))
    told = f"'(?:{other}|{kept})' differs from '(?:{other}|{kept})', but here they are one"
    with pytest.raises(ValueError, match=told):
        read_network(tmp_path)
    change_tensors(tmp_path, lambda tensors: tensors.update({other: tensors.pop(kept)}))
    after = read_network(tmp_path)[2]  # either name will do
    assert next(before.parameters()).shape == next(after.parameters()).shape


def test_two_biases_that_are_one_must_not_differ(make_folder, tmp_path):
    make_folder("bert masked", tmp_path)
    bias = "cls.predictions.decoder.bias"
    change_tensors(tmp_path, lambda t: t.update({bias: t["cls.predictions.bias"] + 1}))
    with pytest.raises(ValueError, match=f"'{bias}' differs from the one that it is tied to"):
        read_network(tmp_path)


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0,
                   "layer_types": ["full_attention", "sliding_attention"]}, "1 of 2 layers have a"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights = False is not supported"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "by_inverse_layer_idx = True is not"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention = True is not supported"),
        ("bert bare", {"is_decoder": True}, "is_decoder = True is not supported, only False"),
        ("roberta", {"is_decoder": True}, "is_decoder = True is not supported, only False"),
        ("albert", {"position_embedding_type": "relative_key"}, "position_embedding_type = 'rel"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5 is not supported"),
        ("llama", {"architectures": ["LlamaForFoo"]}, "architecture 'LlamaForFoo' is not known"),
        ("llama", {"architectures": ["BertForMaskedLM"]}, "known: LlamaForCausalLM, "),
        ("gpt2", {"architectures": ["GPT2DoubleHeadsModel"]}, "'GPT2DoubleHeadsModel' is not"),
        ("t5", {"architectures": ["T5EncoderModel"]}, "'T5EncoderModel' is not known here; known"),
        ("marian", {"architectures": ["MarianModel"]}, "architecture 'MarianModel' is not known"),
        ("bert bare", {"architectures": "BertForFoo"}, "architecture 'BertForFoo' is not known"),
        ("bert bare", {"architectures": ["LlamaModel"]}, "architecture 'LlamaModel' is not known"),
        ("bert bare", {"max_position_embeddings": None}, "must be a whole number, got None"),
        ("llama", {"max_position_embeddings": None}, "max_position_embeddings must be a whole"),
        ("marian", {"vocab_size": None, "decoder_vocab_size": None}, "vocab_size must be a whole"),
        ("roberta", {"pad_token_id": None}, "pad_token_id must be a whole number, got None"),
        ("bert bare", {"hidden_size": "big"}, "'hidden_size'|d_model"),
    ],
)  # fmt: skip
def test_keys_that_are_refused_are_named(make_folder, tmp_path, name, keys, told):
    make_folder(name, tmp_path)
    change_keys(tmp_path, keys)
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))}.*config\.json: .*{told}"):
        read_network(tmp_path)
    nothing = [key for key, value in keys.items() if value is None]
    if nothing:
        change_keys(tmp_path, remove=nothing)
        if name != "roberta":  # whose padding is 1 where nothing else is said
            with pytest.raises(ValueError, match="must be a whole number, got None"):
                read_network(tmp_path)


def test_windows_in_all_layers_or_none(make_folder, tmp_path):
    window = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
    for i, types in enumerate((["full_attention"] * 2, ["sliding_attention"] * 2)):
        theirs = make_folder("qwen2", tmp_path / str(i), **window, layer_types=types)
        assert_alike(theirs, tmp_path / str(i), 12)
    make_folder("mistral", tmp_path / "m")
    change_keys(tmp_path / "m", remove=["sliding_window"])
    assert read_network(tmp_path / "m")[1].window == hf.MistralConfig().sliding_window
    theirs = make_folder("llama", tmp_path / "l")
    change_keys(tmp_path / "l", {"sliding_window": 4})  # which theirs does not look at
    assert_alike(theirs, tmp_path / "l", 12)


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_positions_of_roberta_begin_behind_its_padding(make_folder, tmp_path, pad):
    make_folder("roberta", tmp_path / "theirs", pad_token_id=pad)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[1, 6:] = False
    theirs = hf.RobertaForMaskedLM.from_pretrained(tmp_path / "theirs").eval()
    ids = torch.randint(5, 25, (2, 9)).where(valid, torch.tensor(pad))
    family, config, network = read_network(tmp_path / "theirs")
    assert config.skipped_positions == pad + 1
    write_network(network, family, config, tmp_path / "back")
    again = hf.RobertaForMaskedLM.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        for model in (theirs, again):
            expected = model(ids, attention_mask=valid.long()).logits
            logits = network(ids, valid)
            torch.testing.assert_close(logits[valid], expected[valid], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("bert masked", "bert.encoder.layer.0.attention.self.query.weight"),
        ("gpt2", "transformer.h.1.attn.c_attn.weight"),
        ("llama", "lm_head.weight"),
        ("vit bare", "embeddings.cls_token"),
    ],
)
def test_tensors_are_named_as_the_file_has_them(make_folder, tmp_path, name, tensor):
    make_folder(name, tmp_path)
    whole = load_file(tmp_path / WEIGHTS)
    for change, told in (
        ({tensor: None}, f"tensor '{tensor}' is missing"),
        ({f"{tensor}.more": torch.ones(2)}, f"tensor '{tensor}.more' is not part of the model"),
        ({tensor: whole[tensor].new_ones(7, 7)}, f"tensor '{tensor}' has shape"),
    ):
        kept = {key: t for key, t in {**whole, **change}.items() if t is not None}
        save_file(kept, tmp_path / WEIGHTS, {"format": "pt"})
        with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}: {told}')}"):
            read_network(tmp_path)


def test_files_that_are_not_whole(make_folder, tmp_path):
    make_folder("bert bare", tmp_path)
    (tmp_path / WEIGHTS).rename(tmp_path / "part.safetensors")
    (tmp_path / f"{WEIGHTS}.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json has no weight_map, so it is damaged"):
        read_network(tmp_path)
    (tmp_path / KEYS).write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json: holds a JSON list, but an object is"):
        read_network(tmp_path)


def test_what_lies_beside_is_not_whole(make_folder, tmp_path):
    make_folder("bert labels", tmp_path)
    change_keys(tmp_path, {"id2label": {"no": 0, "maybe": 1, "yes": 2}})
    with pytest.raises(ValueError, match=r"config\.json: id2label .* does not give names"):
        sublayer.load(tmp_path)
    for name in ("tokenizer_config.json", "generation_config.json"):
        folder = tmp_path / name.partition(".")[0]
        make_folder("llama", folder)
        (folder / name).write_text("[]")
        with pytest.raises(ValueError, match=rf"{name}: holds a JSON list, but an object"):
            sublayer.load(folder)
    make_folder("bert bare", tmp_path / "sentences")
    for content, told in (("[]", "lists no modules"), ('[{"idx": 0}]', "has no path and type")):
        (tmp_path / "sentences" / "modules.json").write_text(content)
        with pytest.raises(ValueError, match=rf"modules\.json.* {told}"):
            sublayer.load(tmp_path / "sentences")


def test_vectors_are_of_length_one_where_the_folder_says_so(make_folder, tmp_path):
    theirs = make_folder("bert bare", tmp_path)
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in (("", "Transformer"), ("1", "Pooling"), ("2", "Normalize"))
    ]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    ids = hf.AutoTokenizer.from_pretrained(tmp_path)("the fox", return_tensors="pt")
    with torch.no_grad():
        mean = theirs(**ids).last_hidden_state[0].mean(0)
    for kept, expected in ((3, mean / mean.norm()), (2, mean)):
        (tmp_path / "modules.json").write_text(json.dumps(modules[:kept]))
        (vector,) = sublayer.load(tmp_path)(["the fox"])
        torch.testing.assert_close(torch.from_numpy(vector), expected, atol=1e-5, rtol=1e-4)


def test_rows_of_a_table_behind_the_vocabulary_fill_no_mask(make_folder, tmp_path):
    make_folder("bert masked", tmp_path, vocab_size=64)
    known = len(hf.AutoTokenizer.from_pretrained(tmp_path))
    assert len(sublayer.load(tmp_path).results(["the [MASK] fox"], 64)[0]) == known < 64


def test_a_masked_model_without_a_mask(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nfox\n")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    config = hf.BertConfig(vocab_size=6, num_hidden_layers=1, **sizes)
    hf.BertForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the vocabulary has no mask, so there is nothing to fill"):
        sublayer.load(tmp_path)(["the fox"])


def test_how_a_folder_wants_texts_to_be_written(make_folder, tmp_path, caplog):
    make_folder("llama", tmp_path)
    says = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "num_beams": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(says))
    ours = generation_of(tmp_path)
    assert (ours["repetition_penalty"], ours["no_repeat_ngram"], ours["beam"]) == (1.3, 3, 2)
    assert not caplog.records
    says |= {"min_new_tokens": 5, "num_beam_groups": 2, "bad_words_ids": [[7, 8]]}
    (tmp_path / "generation_config.json").write_text(json.dumps(says))
    sublayer.load(tmp_path)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "asks for min_new_tokens, num_beam_groups, bad_words_ids, which is not used" in told


def test_a_hub_that_has_only_a_pickle(make_folder, tmp_path, monkeypatch):
    theirs = make_folder("gpt2", tmp_path / "hub")
    (tmp_path / "hub" / WEIGHTS).unlink()
    torch.save(theirs.state_dict(), tmp_path / "hub" / "pytorch_model.bin")

    def fetched(name, allow_patterns):
        folder = tmp_path / "cache"
        has = ["*.bin"] if snapshot.PICKLES in allow_patterns else []
        ignored = shutil.ignore_patterns(*([] if has else ["*.bin"]))
        return shutil.copytree(tmp_path / "hub", folder, ignore=ignored, dirs_exist_ok=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    with pytest.raises(
        ValueError, match=r"org/name has no safetensors .* convert org/name NEW --p"
    ):
        sublayer.load("org/name")
    convert(snapshot.Path("org/name"), tmp_path / "new", "huggingface", read_pickle)
    assert (tmp_path / "new" / WEIGHTS).exists()


def test_yarn_lengthens_as_its_paper_does_where_a_recipe_says_nothing():
    scaling = Scaling(kind="yarn", factor=4.0, trained=16)
    assert scaling.lengthening == pytest.approx(0.1 * torch.log(torch.tensor(4.0)).item() + 1)
    assert Scaling(kind="linear", factor=4.0, trained=16).lengthening == 1.0
    assert Scaling(kind="yarn", factor=4.0, trained=16, strength=1.0).lengthening == 1.0
