"""Every part that CTranslate2 has too, exported and run there: equal to our network."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from sublayer.models.base import EncoderDecoder, build

ctranslate2 = pytest.importorskip("ctranslate2")

from sublayer.models.ctranslate2 import export, silence  # noqa: E402
from sublayer.models.ctranslate2_verify import compare  # noqa: E402

V = 40
SIZE = {"vocab_size": V, "d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 24}
PAIRS = {
    "the paper": {},
    "pre-norm": {"norm": "pre"},
    "RMSNorm": {"norm": "pre", "norm_kind": "rms", "norm_eps": 1e-3},
    "post RMSNorm": {"norm_kind": "rms"},
    "learned": {"position": "learned", "max_length": 40},
    "rotary": {"position": "rotary"},
    "buckets": {"position": "buckets", "farthest": 20},
    "shaw": {"position": "shaw", "farthest": 3},
    "no positions": {"position": "none"},
    "gelu": {"activation": "gelu"},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "silu": {"activation": "silu"},
    "gated": {"gated": True, "activation": "gelu"},
    "dot": {"score": "dot"},
    "dot, no positions": {"score": "dot", "position": "none"},
    "tied": {"tied": "all"},
    "two vocabularies": {"tied": "output", "source_vocab_size": 30},
    "grouped queries": {"n_kv_heads": 2},
    "one key head": {"n_kv_heads": 1},
    "one key head, rotary": {"n_kv_heads": 1, "position": "rotary"},
    "grouped queries, buckets": {"n_kv_heads": 2, "position": "buckets", "d_head": 6},
    "wide heads": {"d_head": 8, "n_kv_heads": 2},
    "one decoder layer": {"n_decoder_layers": 1},
    "longer than the table": {"max_length": 8},
    "marian": {"family": "marian"},
    "marian, two vocabularies": {
        "family": "marian",
        "source_vocab_size": 30,
        "activation": "relu",
        "scaled_embedding": False,
    },
    "t5 1.1": {"family": "t5", "d_head": 8},
    "t5 1.0": {
        "family": "t5",
        "d_head": 4,
        "gated": False,
        "activation": "relu",
        "tied": True,
        "scaled_output": True,
        "n_buckets": 8,
        "farthest": 12,
    },
}
YARN = {"kind": "yarn", "factor": 4.0, "trained": 16, "strength": 1.3}
LLAMA3 = {"kind": "llama3", "factor": 4.0, "trained": 16}
LANGUAGE_MODELS = {
    "gpt": {},
    "gpt tied": {"tied": True, "norm": "post"},
    "gpt sinusoidal": {"position": "sinusoidal"},
    "gpt rotary": {"position": "rotary"},
    "gpt alibi": {"position": "alibi"},
    "gpt alibi of three heads": {"position": "alibi", "n_heads": 3, "d_model": 12},
    "gpt shaw": {"position": "shaw", "farthest": 3},
    "gpt no positions": {"position": "none"},
    "gpt gated": {"gated": True, "norm_kind": "rms", "score": "dot"},
    "llama": {"family": "llama", "n_kv_heads": 2, "theta": 500.0},
    "llama one key head": {"family": "llama", "n_kv_heads": 1, "d_head": 6},
    "llama biases": {"family": "llama", "attention_bias": "qkv"},
    "llama all biases": {
        "family": "llama",
        "attention_bias": "all",
        "feedforward_bias": True,
        "gated": False,
        "tied": True,
    },
    "llama linear": {
        "family": "llama",
        "scaling": {"kind": "linear", "factor": 4.0, "trained": 16},
    },
    "llama 3": {"family": "llama", "scaling": LLAMA3},
    "llama yarn": {"family": "llama", "scaling": YARN},
    "llama heads of two": {"family": "llama", "n_heads": 8},
}
REFUSED = {
    "attention score: General": {"score": "general"},
    "attention score: Additive": {"family": "gpt", "score": "additive"},
    "attention score: LocationBased": {"score": "location"},
    "positions in the encoder: Alibi": {"position": "alibi"},
    "positions in the language model: Buckets": {"family": "gpt", "position": "buckets"},
    "how norms are placed: SandwichNorm": {"norm": "sandwich"},
    "its window": {"family": "gpt", "window": 3},
    "rates change with the length": {
        "family": "llama",
        "scaling": {"kind": "dynamic", "factor": 4.0, "trained": 16},
    },
}


UNTIED = {"transformer": {"tied": "none"}, "gpt": {"tied": False}}
WAYS = ({"beam_size": 1, "sampling_topk": 0}, {"beam_size": 4})
SCORED = {"length_penalty": 0, "return_scores": True, "return_end_token": True}


def stirred(family="transformer", **keys):
    """A network in which every parameter shows."""
    torch.manual_seed(0)
    network = build(family, **(SIZE | UNTIED.get(family, {}) | keys)).eval()
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=1.5 * weight.shape[-1] ** -0.5)
        else:
            nn.init.normal_(weight, mean=float(name.endswith("norm.weight")), std=0.3)
    return network


def names(count=V, side="t"):
    return [f"{side}{id}" for id in range(count)]


def check(network, folder, source=None):
    export(network, folder, names(), source)
    found = {difference.layer: difference.largest for difference in compare(network, folder)}
    assert found.keys() == {"log-probabilities", "greedy tokens"}
    assert max(found.values()) < 1e-4, found
    ctranslate2.set_random_seed(0)
    read = names() if source is None else source
    texts = [[5, 9, 7, 11, 2], [8, 3], [9, 8, 10, 12, 22, 11, 21, 4]]
    written = [[read[id] for id in text] for text in texts]
    is_pair = isinstance(network, EncoderDecoder)
    for way in WAYS:
        (check_pairs if is_pair else check_texts)(network, folder, texts, written, way)


def check_pairs(network, folder, sources, written, way):
    """Texts of all sorts of tokens, written step by step, have our probability."""
    translator = ctranslate2.Translator(str(folder))
    results = translator.translate_batch(
        written, max_decoding_length=24, min_decoding_length=0, **SCORED, **way
    )
    for source, result in zip(sources, results, strict=True):
        ids = [names().index(token) for token in result.hypotheses[0]]
        logits = network(torch.tensor([source]), torch.tensor([[1, *ids[:-1]]]))[0]
        check_score(logits, ids, result.scores[0])


def check_texts(network, folder, texts, written, way):
    generator = ctranslate2.Generator(str(folder))
    results = generator.generate_batch(
        written, max_length=24, include_prompt_in_result=False, **SCORED, **way
    )
    for text, result in zip(texts, results, strict=True):
        ids = result.sequences_ids[0]
        logits = network(torch.tensor([[*text, *ids[:-1]]]))[0, len(text) - 1 :]
        check_score(logits, ids, result.scores[0])


def check_score(logits, ids, score):
    logp = logits.detach().log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)]
    assert abs(float(logp.sum()) - score) < 1e-4 * len(ids)


@pytest.mark.parametrize("name", PAIRS)
def test_encoder_decoders(name, tmp_path):
    keys = PAIRS[name]
    network = stirred(**keys)
    apart = keys.get("source_vocab_size")
    check(network, tmp_path, apart and names(apart, "s"))


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models(name, tmp_path):
    check(stirred(**{"family": "gpt", "max_length": 64} | LANGUAGE_MODELS[name]), tmp_path)


@pytest.mark.parametrize("words", REFUSED)
def test_other_parts_are_refused_by_name(words, tmp_path):
    with pytest.raises(
        ValueError, match=f"cannot be exported to CTranslate2, because of .*{words}"
    ):
        export(stirred(**REFUSED[words]), tmp_path, names())
    assert not list(tmp_path.iterdir())


def test_layers_of_another_kind_are_refused(tmp_path):
    network = build("wavenet", vocab_size=len(names()), d_model=8, n_layers=2, n_stacks=1)
    with pytest.raises(ValueError, match=r"because of its layers: DilatedStack"):
        export(network, tmp_path, names())


def test_changed_layers_are_refused(tmp_path):
    network = stirred()
    block = network.encoder.blocks[0]
    for layer, name in ((block.feedforward.layer, "up"), (block.attention.layer, "q")):
        setattr(layer, name, nn.Identity())
        with pytest.raises(ValueError, match="kind Identity; export what it was made from"):
            export(network, tmp_path, names())
    network.head = nn.Identity()
    with pytest.raises(ValueError, match="a layer of kind Identity"):
        silence(network, [0])


def test_a_copy_of_a_network_is_exported_too(tmp_path):
    check(copy.deepcopy(stirred(activation="gelu_tanh")), tmp_path)


def test_greedy_texts_are_the_same_token_for_token(tmp_path):
    network = stirred(position="shaw")
    export(network, tmp_path, names())
    translator = ctranslate2.Translator(str(tmp_path))
    source = [5, 9, 7, 30, 2]
    found = translator.translate_batch(
        [[f"t{id}" for id in source]], beam_size=1, max_decoding_length=20, min_decoding_length=0
    )
    ids = [1]
    while len(ids) < 21 and ids[-1] != 2:
        ids.append(int(network(torch.tensor([source]), torch.tensor([ids]))[0, -1].argmax()))
    assert len(set(ids)) > 3, ids
    assert found[0].hypotheses[0] == [f"t{id}" for id in ids[1:] if id != 2]


def test_weights_are_written_once(tmp_path):
    for tied in ("all", "none"):
        export(stirred(tied=tied), tmp_path / tied, names())
    sizes = {tied: (tmp_path / tied / "model.bin").stat().st_size for tied in ("all", "none")}
    assert sizes["none"] - sizes["all"] > 2 * V * SIZE["d_model"] * 4 * 0.99


def test_ids_without_a_token_get_names(tmp_path):
    export(stirred("gpt"), tmp_path, ["a", None, "b"])
    written = json.loads((tmp_path / "vocabulary.json").read_text())
    assert written[:4] == ["a", "<unused_1>", "b", "<unused_3>"]
    assert len(written) == V


def test_silent_ids_are_never_written(tmp_path):
    network = stirred("marian")
    favourite = int(network(torch.tensor([[5, 2]]), torch.tensor([[1]]))[0, -1].argmax())
    silence(network, [favourite])
    check(network, tmp_path)
    translator = ctranslate2.Translator(str(tmp_path))
    found = translator.translate_batch([["t5", "t2"]], beam_size=1, max_decoding_length=20)
    assert f"t{favourite}" not in found[0].hypotheses[0]


@pytest.mark.parametrize("family", ["transformer", "gpt"])
def test_a_mistake_is_seen(family, tmp_path):
    network = stirred(family)
    export(network, tmp_path, names())
    with torch.no_grad():
        network.head.weight[7] += 0.1
    assert any(difference.is_mistake for difference in compare(network, tmp_path))
