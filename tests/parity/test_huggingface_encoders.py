"""Encoders that transformers has too: the same outputs from the same folder, there and back."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file

from sublayer.models.huggingface import read_network, write_network

BERT = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 48,
}
DISTIL = {
    "vocab_size": 61,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 40,
    "max_position_embeddings": 48,
}
CASES = {
    "bert": (hf.BertForPreTraining, hf.BertConfig, BERT),
    "bert masked, untied, three segments": (
        hf.BertForMaskedLM,
        hf.BertConfig,
        BERT | {"tie_word_embeddings": False, "type_vocab_size": 3, "hidden_act": "gelu_new"},
    ),
    "bert bare": (hf.BertModel, hf.BertConfig, BERT | {"layer_norm_eps": 1e-3}),
    "roberta": (hf.RobertaForMaskedLM, hf.RobertaConfig, BERT | {"type_vocab_size": 1}),
    "roberta bare, relu": (hf.RobertaModel, hf.RobertaConfig, BERT | {"hidden_act": "relu"}),
    "distilbert": (hf.DistilBertForMaskedLM, hf.DistilBertConfig, DISTIL),
    "distilbert bare": (hf.DistilBertModel, hf.DistilBertConfig, DISTIL | {"activation": "relu"}),
    "albert": (hf.AlbertForPreTraining, hf.AlbertConfig, BERT | {"embedding_size": 12}),
    "albert masked, relu": (
        hf.AlbertForMaskedLM,
        hf.AlbertConfig,
        BERT | {"hidden_act": "relu", "embedding_size": 20, "num_hidden_layers": 3},
    ),
    "albert bare": (hf.AlbertModel, hf.AlbertConfig, BERT | {"embedding_size": 12}),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """Their model, with weights that show a mistake, and its folder."""
    torch.manual_seed(0)
    model, config, keys = CASES[request.param]
    theirs = model(config(**keys)).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, tmp_path


def their_output(theirs, ids, valid, segments):
    """Logits or hidden states, and the pair's logits or the pooled vector if there are any."""
    places = {}
    kind = theirs.config.model_type
    if kind != "distilbert":
        places["token_type_ids"] = segments
    if kind == "roberta":  # by default it counts real tokens only
        places["position_ids"] = torch.arange(2, 2 + ids.shape[1]).expand(len(ids), -1)
    with torch.no_grad():
        return theirs(ids, attention_mask=valid.long(), **places, output_hidden_states=True)


def test_outputs_are_equal_with_padding_anywhere(case):
    theirs, folder = case
    _, config, ours = read_network(folder / "theirs")
    ids, valid = torch.randint(3, 61, (3, 10)), torch.ones(3, 10, dtype=torch.bool)
    valid[1, 7:] = False
    valid[2, 3:6] = False
    kinds = max(config.n_segments, 1)
    segments = torch.randint(0, kinds, (3, 10))
    out = their_output(theirs, ids, valid, segments)
    seen = []
    for block in ours.stack.blocks:
        block.feedforward.stream.register_forward_hook(lambda m, given, x: seen.append(x))
    with torch.no_grad():
        given = segments if config.n_segments else None
        got, hidden = ours(ids, valid, given), ours.hidden(ids, valid, given)
        has_pairs = config.head == "masked_and_pairs"
        first = out.prediction_logits if has_pairs else out[0]
        close = {"atol": 2e-5, "rtol": 1e-5}
        torch.testing.assert_close(got[valid], first[valid], **close)
        for mine, their in zip(seen, out.hidden_states[1:], strict=False):
            torch.testing.assert_close(mine[valid], their[valid], **close)
        if has_pairs:
            pairs = out["sop_logits" if "sop_logits" in out else "seq_relationship_logits"]
            torch.testing.assert_close(ours.pair_logits(hidden), pairs, **close)
        elif config.pooler:
            torch.testing.assert_close(ours.pooler(hidden), out.pooler_output, **close)


def test_without_segments_all_tokens_are_of_the_first(case):
    _, folder = case
    _, config, ours = read_network(folder / "theirs")
    ids = torch.randint(3, 61, (2, 5))
    if config.n_segments:
        with torch.no_grad():
            torch.testing.assert_close(ours(ids), ours(ids, segments=torch.zeros_like(ids)))


def test_there_and_back_is_exact(case):
    theirs, folder = case
    family, config, ours = read_network(folder / "theirs")
    if not config.model_dump().get("tied", True):
        with pytest.raises(ValueError, match="for a 'bert' with tied = false; keep"):
            write_network(ours, family, config, folder / "back")
        return
    write_network(ours, family, config, folder / "back")
    a, b = (load_file(folder / name / "model.safetensors") for name in ("theirs", "back"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    again = type(theirs).from_pretrained(folder / "back").eval()
    ids = torch.randint(3, 61, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(again(ids)[0], theirs(ids)[0], atol=0, rtol=0)
    assert read_network(folder / "back")[1] == config
