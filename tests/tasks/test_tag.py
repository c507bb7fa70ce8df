"""Words in, words out: tags stay with their words whatever the tokenizer makes of these."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import TokenizerSide
from sublayer.data.example import Tagged
from sublayer.objectives.labels import UNTOLD
from sublayer.tasks.tag import pieces_of
from sublayer.text.tokenizer import Tokenizer

KINDS = ["characters", "words", "bpe", "wordpiece", "unigram"]
SENTENCES = [
    Tagged(("Anna", "sees", "Bob"), ("NAME", "VERB", "NAME")),
    Tagged(("unbelievably", "long-winded", "words"), ("ADV", "ADJ", "NOUN")),
    Tagged((), ()),
    Tagged(("go",), ("VERB",)),
]


@pytest.fixture(params=KINDS)
def task(request, bind):
    return bind("tag", SENTENCES, tokenizer=request.param, data={"max_source": 20})


def firsts_of(batch, row: int) -> list[int]:
    return (batch.labels[row] != UNTOLD).nonzero().flatten().tolist()


def test_a_tag_stands_at_the_first_piece_of_its_word(task, rows_of):
    rows, notes = rows_of(task, SENTENCES)
    assert notes["skipped_empty"] == 1
    batch = task.collate(rows, np.random.default_rng(0))
    special, encode = task.vocabulary.text.special, task.vocabulary.text.encode
    words, tags = [], []
    for row in range(len(rows)):
        places = firsts_of(batch, row)
        tags += [task.vocabulary.labels[i] for i in batch.labels[row, places].tolist()]
        ids = [id for id in batch.inputs[row].tolist() if id != special.pad]
        assert (ids[0], ids[-1]) == (special.bos, special.eos)
        ends = [*places[1:], len(ids) - 1]
        words += [ids[a:b] for a, b in zip(places, ends, strict=True)]
    expected = [encode(word) for sentence in SENTENCES for word in sentence.words]
    assert words == [ids[:18] for ids in expected]
    assert tags == [tag for sentence in SENTENCES for tag in sentence.tags]
    assert batch.tokens == len(tags)
    assert batch.inputs.shape[1] <= 20


TOKENIZERS = {
    kind: Tokenizer.train(
        TokenizerSide(kind=kind, vocab_size=300), ["some words to learn from", "and some more"]
    )
    for kind in KINDS
}
word = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=12)


@pytest.mark.parametrize("kind", KINDS)
@given(words=st.lists(word, max_size=12), longest=st.integers(3, 20))
def test_words_in_are_words_out(kind, words, longest):
    """Words without pieces, and sentences in parts, keep as many first pieces as words."""
    tokenizer = TOKENIZERS[kind]
    parts = list(pieces_of(words, tokenizer, longest))
    assert sum(len(firsts) for _, firsts in parts) == len(words)
    at = 0
    for ids, firsts in parts:
        assert len(ids) <= longest
        assert (ids[0], ids[-1]) == (tokenizer.special.bos, tokenizer.special.eos)
        for place in firsts:
            own = tokenizer.encode(words[at]) or [tokenizer.special.unk]
            own = own[: longest - 2]
            assert ids[place : place + len(own)] == own
            at += 1


def test_a_word_without_pieces_has_a_tag(bind, network_of, generation):
    task = bind("tag", SENTENCES, tokenizer="wordpiece")
    network = network_of(task, "bert", max_length=256)
    assert task.vocabulary.text.encode("\u200b") in ([], [task.vocabulary.text.special.unk])
    told = task.predictor(network, generation).tag([["Anna", "\u200b", "Bob"], []])
    assert [len(row) for row in told] == [3, 0]


def test_tags_are_the_likeliest_of_the_first_pieces(task, network_of, generation):
    network = network_of(task, "bert", max_length=20)
    words = ["Anna", "sees", "unbelievably", "Bob"]
    told = task.predictor(network, generation).tag([words])[0]
    at = 0
    for ids, firsts in pieces_of(words, task.vocabulary.text, 20):
        share = network(torch.tensor([ids]))[0, firsts].softmax(-1)
        for p in share:
            tag, probability = told[at]
            assert tag == task.vocabulary.labels[p.argmax()]
            assert probability == pytest.approx(p.max().item(), abs=1e-5)
            at += 1
    assert at == len(words)


def test_batched_is_single(task, network_of, generation):
    predictor = task.predictor(network_of(task, "bert", max_length=20), generation)
    inputs = ["Anna sees Bob", "", "go", "unbelievably long-winded words and more of them"]
    alone = [predictor.results([text])[0][0] for text in inputs]
    for one, (together,) in zip(alone, predictor.results(inputs), strict=True):
        assert one.text == together.text
        assert one.fields["probabilities"] == pytest.approx(together.fields["probabilities"])


def test_columns(task, network_of, generation):
    predictor = task.predictor(network_of(task, "bert", max_length=20), generation)
    (result,) = predictor.results(["Anna  sees\tBob "])[0]
    lines = [line.split("\t") for line in result.text.splitlines()]
    assert [word for word, _ in lines] == result.fields["words"] == ["Anna", "sees", "Bob"]
    assert [tag for _, tag in lines] == result.fields["tags"]
    with pytest.raises(ValueError, match="a tagger has one answer to an input, not 2"):
        predictor.results(["Anna"], 2)


def test_score_leaves_out_empty_sentences(bind, network_of, generation):
    task = bind("tag", SENTENCES, metrics=["word_accuracy"])
    predictor = task.predictor(network_of(task, "bert", max_length=256), generation)
    outcome = task.score(predictor, SENTENCES, lambda rows: None)
    assert outcome.rows == 3
    right = [tag for s in SENTENCES for tag in s.tags]
    said = " ".join(outcome.outputs).split()
    share = sum(a == b for a, b in zip(said, right, strict=True)) / len(right)
    assert outcome.metrics["word_accuracy"].value == pytest.approx(share)
