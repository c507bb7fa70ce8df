"""Raw text in, raw text out: in order, whatever the batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sublayer.config.schema import TokenizerSide
from sublayer.generation.generate import generate
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.predict import Predictor
from sublayer.generation.sample import SampleOptions
from sublayer.models.base import build
from sublayer.text.tokenizer import Tokenizer, Tokenizers

TEXTS = ["abc", "", "cab bac a", "a", "abcabcabc", "cc"]
OPTIONS = SearchOptions(beam=3, max_length=6)


@pytest.fixture
def predictor():
    letters = Tokenizer.train(TokenizerSide(kind="characters"), ["abc", "cab bac a"])
    network = build(
        "transformer", vocab_size=letters.vocab_size, d_model=8, n_layers=1, n_heads=2, d_ff=16
    )
    return Predictor(network, Tokenizers(letters, letters), OPTIONS)


def search(predictor, text, options):
    source = predictor.tokenizers.source
    ids = torch.tensor([[*source.encode(text), source.special.eos]])
    return generate(predictor.network, ids, options=options)[0]


def test_each_text_gets_its_own_output(predictor):
    target = predictor.tokenizers.target
    expected = [target.decode(search(predictor, text, OPTIONS)[0].ids) for text in TEXTS]
    assert predictor(TEXTS) == expected
    assert predictor(TEXTS[::-1]) == expected[::-1]


@pytest.mark.parametrize("batch_tokens", [1, 30, 100_000])
def test_batches_do_not_show(predictor, batch_tokens):
    network, tokenizers = predictor.network, predictor.tokenizers
    assert Predictor(network, tokenizers, OPTIONS, batch_tokens=batch_tokens)(TEXTS) == predictor(
        TEXTS
    )


def test_n_best_carry_their_scores(predictor):
    for text, found in zip(TEXTS, predictor.n_best(TEXTS, 3), strict=True):
        expected = search(predictor, text, replace(OPTIONS, n_best=3))
        for got, wanted in zip(found, expected, strict=True):
            assert got.text == predictor.tokenizers.target.decode(wanted.ids)
            assert (got.logprob, got.score) == pytest.approx(
                (wanted.logprob, wanted.score), abs=1e-4
            )


def test_progress_hears_of_every_text(predictor):
    heard = []
    Predictor(predictor.network, predictor.tokenizers, OPTIONS, batch_tokens=30).n_best(
        TEXTS, 1, heard.append
    )
    assert sum(heard) == len(TEXTS)
    assert len(heard) > 1


def test_long_texts_are_cut_and_counted(predictor):
    short = Predictor(predictor.network, predictor.tokenizers, OPTIONS, max_source=2)
    assert short(["abc", "ab", "cab bac a"]) == predictor(["ab", "ab", "ca"])
    assert short.shortened == 2


def test_dropout_is_off(predictor):
    network = build(
        "transformer", vocab_size=7, d_model=8, n_layers=1, n_heads=2, d_ff=16, dropout=0.9
    )
    assert not Predictor(network, predictor.tokenizers, OPTIONS).network.training


def test_no_texts_no_outputs(predictor):
    assert predictor([]) == []


def test_one_text_is_no_list_of_texts(predictor):
    with pytest.raises(ValueError, match="give a list of texts, not one text"):
        predictor("abc")


def test_more_outputs_than_beams_are_refused(predictor):
    with pytest.raises(ValueError, match="n_best 4 must lie between 1 and the beam, 3"):
        predictor.n_best(TEXTS, 4)


def test_samples_are_drawn_by_the_number_of_the_text(predictor):
    options = SampleOptions(seed=(3, 1, 3, 1, 3, 3), max_new=6)
    tokenizers, network = predictor.tokenizers, predictor.network
    drawn = Predictor(network, tokenizers, options).n_best(["ab"] * 6, 2)
    assert drawn[0] == drawn[2] == drawn[5] != drawn[1] == drawn[3]
    assert drawn[0][0] != drawn[0][1]
    for batch_tokens in (1, 8):
        again = Predictor(network, tokenizers, options, batch_tokens=batch_tokens)
        assert [[p.text for p in row] for row in again.n_best(["ab"] * 6, 2)] == [
            [p.text for p in row] for row in drawn
        ]


@pytest.mark.parametrize(
    "options", [OPTIONS, replace(OPTIONS, beam=1), SampleOptions(seed=1, max_new=6)], ids=str
)
def test_a_stop_string_is_no_part_of_the_text(predictor, options):
    tokenizers, network = predictor.tokenizers, predictor.network
    free = Predictor(network, tokenizers, options)(TEXTS)
    stopping = Predictor(network, tokenizers, replace(options, stop=("b", "ac")))
    stopped = stopping(TEXTS)
    assert any("b" in text or "ac" in text for text in free)
    assert not any("b" in text or "ac" in text for text in stopped)
    if options != OPTIONS:  # a beam searches on elsewhere
        for whole, text in zip(free, stopped, strict=True):
            ends = [whole.find(s) for s in ("b", "ac") if s in whole]
            assert text == whole[: min(ends, default=None)]
