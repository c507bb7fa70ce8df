"""Two-part models that transformers has too: equal logits from the same folder, there and back."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file

from sublayer.layers.state import State
from sublayer.models.huggingface import read_network, write_network

T5 = {
    "vocab_size": 61,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
T5_MODEL = (hf.T5ForConditionalGeneration, hf.T5Config)
MARIAN = {
    "vocab_size": 61,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 64,
    "pad_token_id": 60,
    "decoder_start_token_id": 60,
    "scale_embedding": True,
    "activation_function": "swish",
}
MARIAN_MODEL = (hf.MarianMTModel, hf.MarianConfig)
CASES = {  # model, configuration, whether the head is the embedding table
    "t5 1.0": (T5_MODEL, T5, True),
    "t5 1.0, wide heads, deep decoder": (
        T5_MODEL,
        T5 | {"d_kv": 10, "num_decoder_layers": 3},
        True,
    ),
    "t5 1.1": (
        T5_MODEL,
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        False,
    ),
    "t5 gated silu": (
        T5_MODEL,
        T5 | {"feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-3},
        True,
    ),
    "marian": (MARIAN_MODEL, MARIAN, True),
    "marian unscaled, relu, deep decoder": (
        MARIAN_MODEL,
        MARIAN | {"scale_embedding": False, "activation_function": "relu", "decoder_layers": 3},
        True,
    ),
    "marian with two vocabularies": (
        MARIAN_MODEL,
        MARIAN | {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 61},
        True,
    ),
}
CLOSE = {"atol": 3e-5, "rtol": 2e-5}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """Their model, with weights that show a mistake, and its folder."""
    torch.manual_seed(0)
    (model, config), keys, is_tied = CASES[request.param]
    theirs = model(config(**keys)).eval()
    for weight in theirs.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3)
    for name, buffer in theirs.named_buffers():
        if name == "final_logits_bias":
            buffer.normal_()
    if not is_tied:
        theirs.lm_head.weight = torch.nn.Parameter(torch.randn(61, 24))
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, is_tied, tmp_path


def test_logits_are_equal_with_padding_anywhere(case):
    theirs, is_tied, folder = case
    _, config, ours = read_network(folder / "theirs")
    assert config.model_dump().get("tied", True) == is_tied
    source, target = torch.randint(2, 61, (3, 50)), torch.randint(2, 61, (3, 30))
    valid = torch.ones(3, 50, dtype=torch.bool)
    valid[1, 30:] = False
    valid[2, 3:9] = False
    with torch.no_grad():
        out = theirs(source, attention_mask=valid.long(), decoder_input_ids=target)
        torch.testing.assert_close(
            ours.encode(source, valid)[valid], out.encoder_last_hidden_state[valid], **CLOSE
        )
        torch.testing.assert_close(ours(source, target, valid), out.logits, **CLOSE)


def test_cached_equals_uncached(case):
    *_, folder = case
    _, _, ours = read_network(folder / "theirs")
    source, target = torch.randint(2, 61, (2, 9)), torch.randint(2, 61, (2, 25))
    with torch.no_grad():
        memory, state = ours.encode(source), State()
        steps = [ours.decode(target[:, :3], memory, state=state)]
        steps += [ours.decode(target[:, i : i + 1], memory, state=state) for i in range(3, 25)]
        torch.testing.assert_close(torch.cat(steps, 1), ours(source, target), **CLOSE)


def test_there_and_back_is_exact(case):
    theirs, _, folder = case
    family, config, ours = read_network(folder / "theirs")
    write_network(ours, family, config, folder / "back")
    a, b = (load_file(folder / name / "model.safetensors") for name in ("theirs", "back"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    again = type(theirs).from_pretrained(folder / "back").eval()
    ids = torch.randint(2, 61, (2, 9))
    with torch.no_grad():
        expected = theirs(ids, decoder_input_ids=ids).logits
        got = again(ids, decoder_input_ids=ids).logits
        torch.testing.assert_close(got, expected, atol=0, rtol=0)
    assert read_network(folder / "back")[1] == config
