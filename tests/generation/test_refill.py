"""Texts that begin while others are written get what they get alone."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublayer.config.schema import TokenizerSide
from sublayer.generation.batches import Waiting
from sublayer.generation.decoding import FromPrompt, FromSource
from sublayer.generation.hypothesis import Groups, SearchOptions
from sublayer.generation.language import Continuer
from sublayer.generation.logits import NoRepeat, Rules
from sublayer.generation.predict import Predictor
from sublayer.generation.sample import SampleOptions
from sublayer.models.base import FAMILIES, build
from sublayer.text.tokenizer import Tokenizer, Tokenizers

LETTERS = Tokenizer.train(TokenizerSide(kind="characters"), ["abc", "cab bac a"])
SIZE = {"vocab_size": LETTERS.vocab_size, "d_model": 8, "n_layers": 2, "n_heads": 2, "d_ff": 16}
PAIRS = {"rnn_seq2seq", "transformer"}
KEYS = {
    "llama": {"n_kv_heads": 1, "window": 5},
    "rnn_seq2seq": {"n_layers": 1, "score": "general"},
    "wavenet": {"n_stacks": 2},
}
OPTIONS = {
    "greedy": SearchOptions(1, max_length=24),
    "beam": SearchOptions(3, max_length=18, n_best=1),
    "groups": SearchOptions(4, max_length=18, groups=Groups(2, 0.5)),
    "sample": SampleOptions(seed=4, max_new=24),
    "rules": SearchOptions(1, max_length=24, rules=Rules((NoRepeat(3),), (4,))),
    "stop": SearchOptions(2, max_length=18, stop=("ca",)),
}


def texts_of(seed: int, n: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abc ", k=rng.randint(0, 9))) for _ in range(n)]


def writer(family: str, options, batch_tokens: int):
    torch.manual_seed(1)
    known = FAMILIES[family].model_fields
    size = {key: n for key, n in SIZE.items() if key in known}
    network = build(family, **(size | KEYS.get(family, {})))
    torch.nn.init.normal_(network.head.weight, std=0.5)
    if family in PAIRS:
        tokenizers = Tokenizers(LETTERS, LETTERS)
        return Predictor(network, tokenizers, options, batch_tokens=batch_tokens)
    return Continuer(network, LETTERS, options, batch_tokens=batch_tokens)


@pytest.mark.parametrize("family", ["gpt", "llama", "rnn_seq2seq", "transformer", "wavenet"])
@pytest.mark.parametrize("kind", OPTIONS)
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6), tokens=st.integers(30, 150))
def test_each_text_gets_what_it_gets_alone(family, kind, seed, tokens):
    texts = texts_of(seed, 6)
    together = writer(family, OPTIONS[kind], tokens).n_best(texts, 1)
    single = writer(family, OPTIONS[kind], 1)
    for number, (text, (found,)) in enumerate(zip(texts, together, strict=True)):
        ((alone,),) = single.n_best([text], 1, first=number)
        assert found.text == alone.text
        assert found.logprob == pytest.approx(alone.logprob, abs=1e-4)


@pytest.mark.parametrize(("family", "kind"), [("transformer", FromSource), ("gpt", FromPrompt)])
def test_one_long_text_does_not_hold_the_batch(family, kind, monkeypatch):
    """Steps are about those of the longest text, not the sum over batches."""
    steps, absorbed = [], []
    step, absorb = kind.step, kind.absorb

    def counted(self, tokens, order=None):
        steps.append(len(tokens))
        return step(self, tokens, order)

    monkeypatch.setattr(kind, "step", counted)
    monkeypatch.setattr(kind, "absorb", lambda self, o: absorbed.append(1) or absorb(self, o))
    options = SampleOptions(seed=2, max_new=40)
    texts = ["ab"] * 40
    found = writer(family, options, 8 * (3 if family == "transformer" else 44)).n_best(texts, 1)
    assert absorbed
    target = sum(len(LETTERS.encode(row[0].text)) + 1 for row in found)
    assert sum(steps) < 1.2 * target + 40  # rows leave when they end
    assert len(steps) < target / 3  # and others take their places: over three at a time, of eight


def test_texts_wait_until_three_quarters_of_the_room_are_free():
    waiting = Waiting([3, 10, 5, 4, 4, 4], 40)
    assert waiting.take() == [4, 5, 2, 1]
    assert waiting.take(2, 10) == []
    assert waiting.take(1, 10) == [0, 3]
    assert waiting.take() == []


def test_room_is_what_the_longest_leaves():
    lengths = [3] * 30
    assert len(Waiting(lengths, 40).take(1, 10)) == 3
    assert len(Waiting(lengths, 40).take(1, 2)) == 12


def test_a_text_longer_than_the_room_goes_alone():
    waiting = Waiting([100, 2], 10)
    assert waiting.take() == [0]
    assert waiting.take(1, 100) == []
    assert waiting.take() == [1]
