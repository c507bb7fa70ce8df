"""Generation equals transformers' token for token: greedy and beam search, with ragged batches.

transformers takes left padding and we take none; it stops soundly with `early_stopping="never"`, as
with a patience of 1 with `True`, and ends hypotheses as `strict_ends` does. Neither is ours by
default, and no more is needed.
"""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from sublayer.generation.generate import continue_ids, generate
from sublayer.generation.hypothesis import Power, SearchOptions
from sublayer.generation.logits import RepetitionPenalty, Rules
from sublayer.generation.sample import SampleOptions
from sublayer.generation.stopping import Stops
from sublayer.models.huggingface import read_network
from sublayer.text.special import Special

V = 13  # so few that ends are written as often as anything else
MORE = 14
PAD, BOS, EOS = 0, 1, 2
LLAMA = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LANGUAGE = {
    "gpt2": (
        hf.GPT2LMHeadModel,
        hf.GPT2Config,
        {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    ),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, LLAMA),
    "llama yarn": (
        hf.LlamaForCausalLM,
        hf.LlamaConfig,
        LLAMA | {"rope_parameters": {"rope_theta": 5000.0} | YARN},
    ),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig, LLAMA | {"sliding_window": 5}),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, LLAMA),
}
PAIRS = {  # with their padding, start and end
    "t5": (
        hf.T5ForConditionalGeneration,
        hf.T5Config,
        {
            "vocab_size": V,
            "d_model": 24,
            "d_kv": 6,
            "d_ff": 40,
            "num_layers": 2,
            "num_heads": 4,
            "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 20,
            "decoder_start_token_id": 0,
        },
        Special(pad=0, bos=0, eos=1),
    ),
    "marian": (
        hf.MarianMTModel,
        hf.MarianConfig,
        {
            "vocab_size": V,
            "d_model": 24,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 40,
            "decoder_ffn_dim": 40,
            "max_position_embeddings": 64,
            "pad_token_id": V - 1,
            "decoder_start_token_id": V - 1,
            "eos_token_id": 0,
            "forced_eos_token_id": None,
            "scale_embedding": True,
        },
        Special(pad=V - 1, bos=V - 1, eos=0),
    ),
}
SEEDS = range(3)


def models(cases, seed, folder, name):
    """Theirs and ours, with weights sure enough of themselves that rounding settles no tie."""
    torch.manual_seed(seed)
    model, config, keys = cases[name][:3]
    theirs = model(config(**keys)).eval()
    for weight in theirs.parameters():
        if weight.ndim == 2 and weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.4)
    theirs.save_pretrained(folder)
    return theirs, read_network(folder)[2].eval()


@pytest.fixture(params=[(name, seed) for name in LANGUAGE for seed in SEEDS], ids=str)
def language(request, tmp_path):
    name, seed = request.param
    return models(LANGUAGE, seed, tmp_path, name)


@pytest.fixture(params=[(name, seed) for name in PAIRS for seed in SEEDS], ids=str)
def pair(request, tmp_path):
    name, seed = request.param
    return *models(PAIRS, seed, tmp_path, name), PAIRS[name][3]


def ragged(least):
    return [torch.randint(3, V - 1, (n,)).tolist() for n in (7, 1, 12, 4, 12) if n >= least]


def padded(rows, pad, *, left):
    """Ids and mask as transformers takes them."""
    longest = max(map(len, rows))
    fill = [[pad] * (longest - len(row)) for row in rows]
    ids = [[*f, *row] if left else [*row, *f] for row, f in zip(rows, fill, strict=True)]
    real = [[0] * len(f) + [1] * len(row) for row, f in zip(rows, fill, strict=True)]
    return torch.tensor(ids), torch.tensor(real if left else [row[::-1] for row in real])


def written(row, ends):
    """The tokens before the end."""
    return next((row[:i] for i, token in enumerate(row) if token in ends), row)


def theirs_to(theirs, prompts, ends, **how):
    ids, mask = padded(prompts, PAD, left=True)
    out = theirs.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=MORE,
        eos_token_id=list(ends) or None,
        pad_token_id=PAD,
        suppress_tokens=[PAD, BOS],
        return_dict_in_generate=True,
        output_scores=True,
        **how,
    )
    return [written(row[ids.shape[1] :], ends) for row in out.sequences.tolist()], out


@pytest.mark.parametrize("ends", [(EOS,), (EOS, 5), ()], ids=["one end", "two ends", "no end"])
@pytest.mark.parametrize("penalty", [1.0, 1.3], ids=["plain", "no repetition"])
def test_language_models_write_the_same_greedily(language, ends, penalty):
    theirs, ours = language
    prompts = ragged(1)
    expected, _ = theirs_to(
        theirs, prompts, ends, do_sample=False, repetition_penalty=penalty if penalty != 1 else None
    )
    rules = Rules((RepetitionPenalty(penalty),) if penalty != 1 else ())
    for options in (
        SampleOptions(temperature=0.0, max_new=MORE, rules=rules),
        SearchOptions(beam=1, max_length=MORE, rules=rules),
    ):
        found = continue_ids(ours, prompts, options, Stops(ends, (PAD, BOS)))
        assert [h.ids for (h,) in found] == expected
        assert all(h.ended == (len(h.ids) < MORE) for (h,) in found)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("ends", [(EOS,), (EOS, 5), ()], ids=["one end", "two ends", "no end"])
def test_language_models_write_the_same_by_beam_search(language, ends, alpha):
    theirs, ours = language
    prompts = ragged(1)
    expected, out = theirs_to(
        theirs,
        prompts,
        ends,
        num_beams=4,
        num_return_sequences=4,
        early_stopping="never",
        length_penalty=alpha,
    )
    options = SearchOptions(4, Power(alpha), MORE, n_best=4, strict_ends=True)
    found = continue_ids(ours, prompts, options, Stops(ends, (PAD, BOS)))
    assert [h.ids for row in found for h in row] == expected
    scores = torch.tensor([h.score for row in found for h in row])
    torch.testing.assert_close(scores, out.sequences_scores, atol=1e-4, rtol=1e-4)


def both_from(pair, **how):
    theirs, ours, special = pair
    rows = [[*row, special.eos] for row in ragged(2)]
    source, mask = padded(rows, special.pad, left=False)
    out = theirs.generate(
        source,
        attention_mask=mask,
        max_new_tokens=MORE,
        suppress_tokens=[special.pad],
        return_dict_in_generate=True,
        output_scores=True,
        **how,
    )
    expected = [written(row[1:], (special.eos,)) for row in out.sequences.tolist()]
    return ours, source, mask.bool(), special, expected, out


def test_two_part_models_write_the_same_greedily(pair):
    ours, source, valid, special, expected, _ = both_from(pair, do_sample=False, num_beams=1)
    found = generate(ours, source, valid, SearchOptions(beam=1, max_length=MORE), special)
    assert [h.ids for (h,) in found] == expected


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.5])
@pytest.mark.parametrize(("stop", "patience"), [("never", None), (True, 1.0)])
def test_two_part_models_write_the_same_by_beam_search(pair, alpha, stop, patience):
    ours, source, valid, special, expected, out = both_from(
        pair, num_beams=4, num_return_sequences=4, early_stopping=stop, length_penalty=alpha
    )
    options = SearchOptions(4, Power(alpha), MORE, n_best=4, patience=patience, strict_ends=True)
    found = generate(ours, source, valid, options, special)
    assert [h.ids for row in found for h in row] == expected
    scores = torch.tensor([h.score for row in found for h in row])
    torch.testing.assert_close(scores, out.sequences_scores, atol=1e-4, rtol=1e-4)
