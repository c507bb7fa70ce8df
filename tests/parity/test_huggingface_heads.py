"""Heads for labels that transformers has too: the same logits and loss, there and back."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from sublayer.models.huggingface import read_network, write_network

PAD = 0
BERT = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 48,
}
ALBERT = BERT | {"embedding_size": 12}
DISTIL = {
    "vocab_size": 61,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 40,
    "max_position_embeddings": 48,
}
LLAMA = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
}
GPT = {
    "vocab_size": 61,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = {
    "Bert": (hf.BertConfig, BERT),
    "Roberta": (hf.RobertaConfig, BERT | {"type_vocab_size": 1, "num_hidden_layers": 3}),
    "DistilBert": (hf.DistilBertConfig, DISTIL),
    "Albert": (hf.AlbertConfig, ALBERT),
    "GPT2": (hf.GPT2Config, GPT),
    "Llama": (hf.LlamaConfig, LLAMA),
    "Mistral": (hf.MistralConfig, LLAMA | {"sliding_window": 4}),
    "Qwen2": (hf.Qwen2Config, LLAMA | {"tie_word_embeddings": True}),
}
CLASSES, TAGS = "ForSequenceClassification", "ForTokenClassification"
ANSWERS = "ForQuestionAnswering"
CASES = [
    *((name, CLASSES, {"num_labels": 3}) for name in FAMILIES),
    *((name, TAGS, {"num_labels": 5}) for name in FAMILIES),
    *((name, ANSWERS, {}) for name in FAMILIES),
    ("Bert", CLASSES, {"num_labels": 1, "type_vocab_size": 3, "classifier_dropout": 0.3}),
    ("Roberta", CLASSES, {"hidden_act": "relu", "layer_norm_eps": 1e-3, "num_labels": 7}),
    ("DistilBert", CLASSES, {"seq_classif_dropout": 0.4, "activation": "relu"}),
    ("Albert", TAGS, {"hidden_act": "gelu", "classifier_dropout_prob": 0.0, "embedding_size": 20}),
    ("GPT2", TAGS, {"n_inner": 24, "tie_word_embeddings": False, "classifier_dropout": 0.2}),
    ("Llama", CLASSES, {"attention_bias": True, "head_dim": 12, "num_labels": 1}),
]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(params=CASES, ids=lambda case: " ".join(map(str, case)))
def case(request, tmp_path):
    """Their model, with weights that show a mistake, and its folder."""
    torch.manual_seed(0)
    name, head, changes = request.param
    config, keys = FAMILIES[name]
    theirs = getattr(hf, name + head)(config(**keys | changes)).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, tmp_path


def padded():
    """Ids and what is valid: nothing hidden; at the end; in the middle; in front."""
    ids, valid = torch.randint(3, 61, (4, 10)), torch.ones(4, 10, dtype=torch.bool)
    valid[1, 7:] = False
    valid[2, 3:6] = False
    valid[3, :2] = False
    return ids.masked_fill(~valid, PAD), valid


def their_output(theirs, ids, valid, **labels):
    """With positions counted from the first, which ours are where padding is not told of."""
    places = {"position_ids": torch.arange(ids.shape[1]).expand(len(ids), -1)}
    kind = theirs.config.model_type
    if kind == "roberta":
        places["position_ids"] = places["position_ids"] + 2
    if kind == "distilbert":
        places = {}
    with torch.no_grad():
        return theirs(
            ids, attention_mask=valid.long(), output_hidden_states=True, **places, **labels
        )


def is_by_token(theirs):
    return not type(theirs).__name__.endswith(CLASSES)


def test_logits_and_hidden_states_are_equal_with_padding_anywhere(case):
    theirs, folder = case
    _, _, ours = read_network(folder / "theirs")
    ids, valid = padded()
    out = their_output(theirs, ids, valid)
    with torch.no_grad():
        got, hidden = ours(ids, valid), ours.hidden(ids, valid)
    if type(theirs).__name__.endswith(ANSWERS):
        torch.testing.assert_close(got[..., 0][valid], out.start_logits[valid], **CLOSE)
        torch.testing.assert_close(got[..., 1][valid], out.end_logits[valid], **CLOSE)
    elif is_by_token(theirs):
        assert got.shape == (4, 10, theirs.num_labels)
        torch.testing.assert_close(got[valid], out.logits[valid], **CLOSE)
    else:
        assert got.shape == (4, theirs.num_labels)
        torch.testing.assert_close(got, out.logits, **CLOSE)
    torch.testing.assert_close(hidden[valid], out.hidden_states[-1][valid], **CLOSE)


def test_loss_is_equal(case):
    theirs, folder = case
    _, _, ours = read_network(folder / "theirs")
    ids, valid = torch.randint(3, 61, (4, 10)), torch.ones(4, 10, dtype=torch.bool)
    with torch.no_grad():
        got = ours(ids)
    if type(theirs).__name__.endswith(ANSWERS):
        start, end = torch.randint(0, 10, (4,)), torch.randint(0, 10, (4,))
        out = their_output(theirs, ids, valid, start_positions=start, end_positions=end)
        loss = (F.cross_entropy(got[..., 0], start) + F.cross_entropy(got[..., 1], end)) / 2
    elif theirs.num_labels == 1:
        labels = torch.randn(4)
        out = their_output(theirs, ids, valid, labels=labels)
        loss = F.mse_loss(got[:, 0], labels)
    else:
        labels = torch.randint(0, theirs.num_labels, (4, 10) if is_by_token(theirs) else (4,))
        out = their_output(theirs, ids, valid, labels=labels)
        loss = F.cross_entropy(got.flatten(0, -2), labels.flatten())
    torch.testing.assert_close(loss, out.loss, **CLOSE)


@pytest.mark.parametrize("name", ["Bert", "GPT2"])
def test_loss_of_several_labels_at_once_is_equal(name, tmp_path):
    config, keys = FAMILIES[name]
    keys = keys | {"num_labels": 4, "problem_type": "multi_label_classification"}
    theirs = getattr(hf, name + CLASSES)(config(**keys)).eval()
    theirs.save_pretrained(tmp_path)
    _, _, ours = read_network(tmp_path)
    ids, valid = torch.randint(3, 61, (4, 10)), torch.ones(4, 10, dtype=torch.bool)
    labels = torch.randint(0, 2, (4, 4)).float()
    out = their_output(theirs, ids, valid, labels=labels)
    with torch.no_grad():
        loss = F.binary_cross_entropy_with_logits(ours(ids), labels)
    torch.testing.assert_close(loss, out.loss, **CLOSE)


def test_segments_of_pairs_are_seen(tmp_path):
    for name in ("Bert", "Albert"):
        config, keys = FAMILIES[name]
        theirs = getattr(hf, name + CLASSES)(config(**keys)).eval()
        torch.nn.init.normal_(theirs.base_model.embeddings.token_type_embeddings.weight)
        theirs.save_pretrained(tmp_path / name)
        _, _, ours = read_network(tmp_path / name)
        ids, segments = torch.randint(3, 61, (2, 9)), torch.tensor([[0] * 4 + [1] * 5] * 2)
        with torch.no_grad():
            expected = theirs(ids, token_type_ids=segments).logits
            torch.testing.assert_close(ours(ids, segments=segments), expected, **CLOSE)
            assert not torch.allclose(ours(ids), expected, atol=1e-4)


def test_there_and_back_is_exact(case):
    theirs, folder = case
    family, config, ours = read_network(folder / "theirs")
    # which batches of theirs need, and a configuration of ours lacks
    names = {"pad_token_id": theirs.config.pad_token_id}
    write_network(ours, family, config, folder / "back", names)
    first, second = (folder / name / "model.safetensors" for name in ("theirs", "back"))
    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    again = type(theirs).from_pretrained(folder / "back").eval()
    assert again.config.id2label == theirs.config.id2label
    ids, valid = padded()
    was, now = their_output(theirs, ids, valid), their_output(again, ids, valid)
    torch.testing.assert_close(now[0], was[0], atol=0, rtol=0)
    family, again_config, again_ours = read_network(folder / "back")
    assert again_config.build().head.out_features == config.build().head.out_features
    write_network(again_ours, family, again_config, folder / "third", names)
    for name in ("model.safetensors", "config.json"):
        assert (folder / "third" / name).read_bytes() == (folder / "back" / name).read_bytes()


def test_dropout_is_where_theirs_is(case):
    """RoBERTa's classifier drops before its layer as well as after it."""
    theirs, folder = case
    _, config, ours = read_network(folder / "theirs")
    rates = {m.p for n, m in theirs.named_modules() if n in {"dropout", "classifier.dropout"}}
    assert ours.dropout.p == pytest.approx(max(rates, default=0.0))
    has_two = theirs.config.model_type == "roberta" and config.head == "classify"
    before = [m.p for n, m in ours.pooler.named_modules() if n == "dropout"]
    assert before == ([pytest.approx(max(rates))] if has_two else [0.0] * len(before))


def test_extra_keys_stand_in_the_configuration(tmp_path):
    theirs = hf.BertForSequenceClassification(hf.BertConfig(**BERT))
    theirs.save_pretrained(tmp_path / "theirs")
    family, config, ours = read_network(tmp_path / "theirs")
    labels = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    write_network(ours, family, config, tmp_path / "back", labels)
    assert json.loads((tmp_path / "back" / "config.json").read_text())["id2label"] == {
        "0": "bad",
        "1": "good",
    }
    again = hf.BertForSequenceClassification.from_pretrained(tmp_path / "back")
    assert again.config.label2id == {"bad": 0, "good": 1}
    assert read_network(tmp_path / "back")[1] == config


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (hf.BertForTokenClassification, hf.BertConfig(**BERT)),
        (hf.BertForQuestionAnswering, hf.BertConfig(**BERT)),
        (hf.RobertaForSequenceClassification, hf.RobertaConfig(**BERT)),
        (hf.AlbertForTokenClassification, hf.AlbertConfig(**ALBERT)),
    ],
)
def test_a_pooler_that_nothing_reads_is_left_aside(model, config, tmp_path):
    """Folders of older versions hold one."""
    model(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    body = config.model_type
    inner = "pooler" if body == "albert" else "pooler.dense"
    tensors |= {
        f"{body}.{inner}.weight": torch.zeros(32, 32),
        f"{body}.{inner}.bias": torch.zeros(32),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    family, config, ours = read_network(tmp_path)
    write_network(ours, family, config, tmp_path / "back")
    assert len(load_file(tmp_path / "back" / "model.safetensors")) == len(tensors) - 2


@pytest.mark.parametrize("name", ["Bert", "Albert"])
def test_a_masked_model_that_also_holds_the_head_for_pairs_has_it(name, tmp_path):
    """As the published bert-base-uncased does, which calls itself ForMaskedLM."""
    config, keys = FAMILIES[name]
    getattr(hf, f"{name}ForPreTraining")(config(**keys)).save_pretrained(tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    theirs["architectures"] = [f"{name}ForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    _, config, ours = read_network(tmp_path)
    assert config.head == "masked_and_pairs"
    assert ours.pair_logits(ours.hidden(torch.randint(3, 61, (2, 5)))).shape == (2, 2)
