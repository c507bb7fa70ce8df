"""Folders of transformers loaded, used and converted: equal by layers, exact there and back."""

from __future__ import annotations

import json
import shutil

import pytest
import tomli_w
import torch
import transformers as hf

import sublayer
from sublayer.generation.pieces import UNFINISHED
from sublayer.models.huggingface import read_network, read_pickle, write_network
from sublayer.models.verify import LARGEST, compare
from sublayer.tasks.answer import Answers
from sublayer.tasks.classify import Labels
from sublayer.tasks.embed import Vectors
from sublayer.tasks.images import ImageLabels
from sublayer.tasks.language import TextGoesOn
from sublayer.tasks.masked import Fills
from sublayer.tasks.seq2seq import TextToText
from sublayer.tasks.tag import Tags, pieces_of
from sublayer.training.convert import convert, differences

TEXTS = ["the quick fox", "a lazy dog and the brown fox runs", "home"]
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


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "qwen2"])
def test_language_models_go_on_alike(name, make_folder, tmp_path):
    theirs = make_folder(name, tmp_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path)
    ours = sublayer.load(tmp_path, max_length=12)
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt")
        out = theirs.generate(**ids, do_sample=False, max_new_tokens=12, pad_token_id=0)
        whole = tokenizer.decode(out[0], skip_special_tokens=True).rstrip(UNFINISHED)
        assert ours([text]) == [whole]


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("name", ["t5", "marian"])
def test_two_part_models_write_alike(name, beam, make_folder, tmp_path):
    theirs = make_folder(name, tmp_path)
    tokenizer = (hf.MarianTokenizer if name == "marian" else hf.T5Tokenizer).from_pretrained(
        tmp_path
    )
    said = {"num_beams": beam, "max_length": 11}
    said |= {"early_stopping": "never"} if beam > 1 else {}
    theirs.generation_config.update(**said)
    theirs.generation_config.save_pretrained(tmp_path)
    ours = sublayer.load(tmp_path)
    assert (ours.options.beam, ours.options.max_length) == (beam, 10)
    if beam > 1:  # where theirs cuts at the limit, ours may know a better end
        ours.writer.options = ours.options.__class__(**vars(ours.options) | {"strict_ends": True})
    pad = theirs.config.pad_token_id
    for text in TEXTS:
        out = theirs.generate(**tokenizer(text, return_tensors="pt"), suppress_tokens=[pad],
                              forced_eos_token_id=None)  # fmt: skip
        assert ours([text]) == [tokenizer.decode(out[0], skip_special_tokens=True)]


@pytest.mark.parametrize("name", ["bert masked", "bert pairs", "roberta", "distilbert", "albert"])
def test_masks_are_filled_alike(name, make_folder, tmp_path):
    theirs = make_folder(name, tmp_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path)
    text = f"the quick {tokenizer.mask_token} jumps {tokenizer.mask_token}"
    ids = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        out = theirs(**ids)
    logits = out["logits"] if "logits" in out else out["prediction_logits"]
    at = (ids["input_ids"] == tokenizer.mask_token_id).nonzero()[:, 1]
    p, best = logits[0, at].softmax(-1).topk(5)
    ours = sublayer.load(tmp_path)
    found = ours.results([text], 5)[0]
    assert len(found) == 5
    for rank, result in enumerate(found):
        told = result.fields["fills"]
        assert [fill["probability"] for fill in told] == pytest.approx(
            p[:, rank].tolist(), abs=1e-5
        )
        fills = best[:, rank].tolist()
        assert [fill["token"] for fill in told] == ours.vocabulary.text.pieces(fills)
        ids["input_ids"][0, at] = torch.tensor(fills)
        assert result.text == tokenizer.decode(ids["input_ids"][0], skip_special_tokens=True)


@pytest.mark.parametrize("name", ["bert labels", "gpt2 labels"])
def test_labels_are_alike(name, make_folder, tmp_path):
    theirs = make_folder(name, tmp_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path)
    ours = sublayer.load(tmp_path)
    pairs = [*TEXTS, "the quick fox\tjumps over"] if name == "bert labels" else TEXTS
    for text in pairs:
        with torch.no_grad():
            shares = (
                theirs(**tokenizer(*text.split("\t"), return_tensors="pt")).logits[0].softmax(0)
            )
        found = {r.text: r.fields["probability"] for r in ours.results([text], 3)[0]}
        expected = dict(zip(("no", "maybe", "yes"), shares.tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "the [SEP] fox",
        "the fox [SEP]",
        "the [SEP] fox\tjumps over",
        "the fox\tjumps [SEP] over",
        "[SEP]\t[SEP]",
    ],
)
def test_an_end_that_is_written_in_a_text_begins_no_second_one(text, make_folder, tmp_path):
    torch.manual_seed(1)
    theirs = make_folder("bert labels", tmp_path)
    tokenizer = hf.BertTokenizerFast.from_pretrained(tmp_path)
    torch.nn.init.normal_(theirs.bert.embeddings.token_type_embeddings.weight)
    theirs.save_pretrained(tmp_path)
    given = tokenizer(*text.split("\t"), return_tensors="pt")
    assert (given["input_ids"] == tokenizer.sep_token_id).sum() > text.count("\t") + 1
    with torch.no_grad():
        shares = theirs(**given).logits[0].softmax(0)
    found = {r.text: r.fields["probability"] for r in sublayer.load(tmp_path).results([text], 3)[0]}
    expected = dict(zip(("no", "maybe", "yes"), shares.tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-5)


def test_one_label_of_no_said_kind_is_a_number(make_folder, tmp_path):
    theirs = make_folder("bert labels", tmp_path, num_labels=1)
    keys = json.loads((tmp_path / "config.json").read_text())
    assert keys.get("problem_type") is None
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path)
    (found,) = sublayer.load(tmp_path).results(["the quick fox"])[0]
    with torch.no_grad():
        logits = theirs(**tokenizer("the quick fox", return_tensors="pt")).logits
    assert found.fields == {"value": pytest.approx(float(logits), abs=1e-5)}
    (tmp_path / "config.json").write_text(json.dumps(keys | {"problem_type": "ranking"}))
    with pytest.raises(
        ValueError, match=r"problem_type 'ranking' in config\.json is none of single"
    ):
        sublayer.load(tmp_path)


@pytest.mark.parametrize("name", ["bert tags", "roberta tags", "gpt2 tags"])
def test_tags_are_those_of_first_pieces(name, make_folder, tmp_path):
    theirs = make_folder(name, tmp_path)
    spaced = {} if name == "bert tags" else {"add_prefix_space": True}
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path, **spaced)
    words = ["foxs", "jumps", "the", "runing"]
    given = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        told = theirs(**given).logits[0].softmax(-1)
    firsts = [given.word_ids(0).index(number) for number in range(len(words))]
    p, best = told[firsts].max(-1)
    ours = sublayer.load(tmp_path)
    ((ids, places),) = pieces_of(words, ours.vocabulary.text, 40)
    assert (ids, places) == (given["input_ids"][0].tolist(), firsts)
    found = ours.tag([words])[0]
    assert [tag for tag, _ in found] == [("no", "maybe", "yes")[label] for label in best]
    assert [share for _, share in found] == pytest.approx(p.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", ["bert answers", "roberta answers"])
def test_answers_are_the_likeliest_spans(name, make_folder, tmp_path):
    theirs = make_folder(name, tmp_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path)
    question, text = "the fox", "a lazy dog and the brown fox runs home"
    given = tokenizer(question, text, return_tensors="pt", return_offsets_mapping=True)
    offsets, of = given.pop("offset_mapping")[0].tolist(), given.sequence_ids(0)
    with torch.no_grad():
        out = theirs(**given)
    start, end = out.start_logits[0].tolist(), out.end_logits[0].tolist()
    inside = [i for i, part in enumerate(of) if part == 1]
    none = start[0] + end[0]
    spans = {(a, b): start[a] + end[b] - none for a in inside for b in inside if a <= b}
    found = sublayer.load(tmp_path).results([f"{question}\t{text}"], 5)[0]
    expected = [(score, offsets[a][0], offsets[b][1]) for (a, b), score in spans.items()]
    expected = sorted([*expected, (0.0, 0, 0)], reverse=True)[:5]
    assert [r.fields["score"] for r in found] == pytest.approx([s for s, *_ in expected], abs=1e-5)
    places = [(r.fields["begin"], r.fields["end"]) for r in found]
    assert places == [(begin, end) for _, begin, end in expected]
    assert [r.text for r in found] == [text[begin:end] for begin, end in places]


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
