"""What rules leave of an output is transformers' token for token, in every way of decoding."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from sublayer.generation.generate import continue_ids, generate
from sublayer.generation.hypothesis import Power, SearchOptions
from sublayer.generation.logits import Forbidden, NoRepeat, RepetitionPenalty, Rules
from sublayer.generation.sample import SampleOptions, draw, uniform
from sublayer.generation.stopping import Stops
from sublayer.models.huggingface import read_network
from sublayer.text.special import Special

V, MORE = 13, 12
PAD, BOS, EOS = 0, 1, 2
PROMPTS = [[3, 4, 5, 4, 5, 3, 9], [7], [8, 8, 6, 11, 3, 4, 3, 4, 9, 9], [5, 10, 5]]
WORDS = [[3], [4, 5], [7, 7], [6, 8, 9], [9, 4]]
CASES = {
    "repetition": ({"repetition_penalty": 1.4}, (RepetitionPenalty(1.4),)),
    "n-grams": ({"no_repeat_ngram_size": 2}, (NoRepeat(2),)),
    "words": ({"bad_words_ids": WORDS}, (Forbidden(WORDS),)),
    "all": (
        {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "bad_words_ids": WORDS},
        (RepetitionPenalty(1.2), NoRepeat(3), Forbidden(WORDS)),
    ),
}
PREFIX = (6, 3, 6)
MARIAN = Special(pad=V - 1, bos=V - 1, eos=0)


def both(model, config, folder):
    """Theirs and ours, sure enough of themselves that rounding settles no tie."""
    torch.manual_seed(1)
    theirs = model(config).eval()
    for weight in theirs.parameters():
        if weight.ndim == 2 and weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.4)
    theirs.save_pretrained(folder)
    return theirs, read_network(folder)[2].eval()


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    config = hf.LlamaConfig(
        vocab_size=V,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return both(hf.LlamaForCausalLM, config, tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    config = hf.MarianConfig(
        vocab_size=V,
        d_model=24,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
        max_position_embeddings=64,
        pad_token_id=MARIAN.pad,
        decoder_start_token_id=MARIAN.bos,
        eos_token_id=MARIAN.eos,
        forced_eos_token_id=None,
        scale_embedding=True,
    )
    return both(hf.MarianMTModel, config, tmp_path_factory.mktemp("marian"))


def written(row, end):
    return row[: row.index(end)] if end in row else row


def continued(theirs, prompts, **how):
    longest = max(map(len, prompts))
    ids = torch.tensor([[*[PAD] * (longest - len(p)), *p] for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    out = theirs.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=MORE,
        eos_token_id=EOS,
        pad_token_id=PAD,
        suppress_tokens=[PAD, BOS],
        return_dict_in_generate=True,
        output_scores=True,
        **how,
    )
    return [written(row[longest:], EOS) for row in out.sequences.tolist()], out


def translated(theirs, prefix=(), **how):
    rows = [[*row, MARIAN.eos] for row in PROMPTS]
    longest = max(map(len, rows))
    source = torch.tensor([[*row, *[MARIAN.pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    if prefix:
        how["decoder_input_ids"] = torch.tensor([[MARIAN.bos, *prefix]] * len(rows))
    out = theirs.generate(
        source,
        attention_mask=mask,
        max_new_tokens=MORE,
        suppress_tokens=[MARIAN.pad],
        return_dict_in_generate=True,
        output_scores=True,
        **how,
    )
    return (
        source,
        mask.bool(),
        [written(row[1:], MARIAN.eos) for row in out.sequences.tolist()],
        out,
    )


STOPS = Stops((EOS,), (PAD, BOS))
GREEDY = {"do_sample": False, "num_beams": 1}
BEAM = {"num_beams": 4, "num_return_sequences": 4, "early_stopping": "never", "do_sample": False}


def beam(alpha, rules, limit=MORE):
    return SearchOptions(4, Power(alpha), limit, n_best=4, strict_ends=True, rules=rules)


def assert_same(found, expected, out):
    assert [h.ids for row in found for h in row] == expected
    scores = torch.tensor([h.score for row in found for h in row])
    torch.testing.assert_close(scores, out.sequences_scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_greedily(language, pair, case):
    how, parts = CASES[case]
    options = SearchOptions(1, max_length=MORE, rules=Rules(parts))
    expected, _ = continued(language[0], PROMPTS, **how, **GREEDY)
    plain, _ = continued(language[0], PROMPTS, **GREEDY)
    assert expected != plain
    assert [h.ids for (h,) in continue_ids(language[1], PROMPTS, options, STOPS)] == expected
    source, valid, expected, _ = translated(pair[0], **how, **GREEDY)
    assert [h.ids for (h,) in generate(pair[1], source, valid, options, MARIAN)] == expected


@pytest.mark.parametrize("alpha", [0.0, 1.2])
@pytest.mark.parametrize("case", CASES)
def test_by_beam_search(language, pair, case, alpha):
    how, parts = CASES[case]
    options = beam(alpha, Rules(parts))
    expected, out = continued(language[0], PROMPTS, **how, **BEAM, length_penalty=alpha)
    assert_same(continue_ids(language[1], PROMPTS, options, STOPS), expected, out)
    source, valid, expected, out = translated(pair[0], **how, **BEAM, length_penalty=alpha)
    assert_same(generate(pair[1], source, valid, options, MARIAN), expected, out)


@pytest.mark.parametrize("case", [None, *CASES])
def test_after_a_prefix(language, pair, case):
    """Theirs begin to count behind the prefix, so where lengths count, scores are others."""
    how, parts = CASES[case] if case else ({}, ())
    rules, limit = Rules(parts, PREFIX), MORE + len(PREFIX)
    prompts = [[*prompt, *PREFIX] for prompt in PROMPTS]
    for kind, options in (
        (GREEDY, SearchOptions(1, max_length=limit, rules=rules)),
        (BEAM, beam(0.0, rules, limit)),
    ):
        expected, _ = continued(language[0], prompts, **how, **kind, length_penalty=0.0)
        found = continue_ids(language[1], PROMPTS, options, STOPS)
        assert [h.ids for row in found for h in row] == [[*PREFIX, *ids] for ids in expected]
        source, valid, expected, _ = translated(pair[0], PREFIX, **how, **kind, length_penalty=0.0)
        found = generate(pair[1], source, valid, options, MARIAN)
        assert [h.ids for row in found for h in row] == expected


@pytest.mark.parametrize("case", CASES)
def test_sampled_with_the_same_numbers(language, pair, case, monkeypatch):
    """Their draws are done by our inversion, at our numbers; the probabilities are their own."""
    how, parts = CASES[case]
    warm = {"do_sample": True, "temperature": 1.3, "top_k": 9, "top_p": 0.95, "min_p": 0.01}
    options = SampleOptions(1.3, 9, 0.95, 0.01, seed=3, max_new=MORE, rules=Rules(parts))
    steps = []

    def multinomial(probabilities, num_samples):
        step = len(steps)
        steps.append(step)
        numbers = [uniform(3, row, step) for row in range(len(probabilities))]
        return draw(probabilities.log(), numbers).unsqueeze(1)

    monkeypatch.setattr(torch, "multinomial", multinomial)
    expected, _ = continued(language[0], PROMPTS, **how, **warm)
    assert [h.ids for (h,) in continue_ids(language[1], PROMPTS, options, STOPS)] == expected
    steps.clear()
    source, valid, expected, _ = translated(pair[0], **how, **warm, num_beams=1)
    assert [h.ids for (h,) in generate(pair[1], source, valid, options, MARIAN)] == expected
