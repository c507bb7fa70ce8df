"""Folders of transformers in use: texts, fills, labels, tags and answers are theirs."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf

import sublayer
from sublayer.generation.pieces import UNFINISHED
from sublayer.tasks.tag import pieces_of

TEXTS = ["the quick fox", "a lazy dog and the brown fox runs", "home"]
pytestmark = pytest.mark.filterwarnings("ignore:Recommended")


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
