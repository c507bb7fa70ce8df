"""Keys of `[generation]` as options, for every task that writes text."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from sublayer.config.schema import Generation, TokenizerSide
from sublayer.data.example import Document
from sublayer.data.pair import Pair
from sublayer.generation.hypothesis import Groups, SearchOptions
from sublayer.generation.logits import Forbidden, FrequencyPenalty, NoRepeat, RepetitionPenalty
from sublayer.generation.sample import SampleOptions
from sublayer.tasks.writing import write_options
from sublayer.text.tokenizer import Tokenizer

TEXT = "the cat sat on the mat and the dog sat on the cat"
KINDS = ("characters", "words", "bpe", "wordpiece", "unigram")
TOKENIZERS = {
    kind: Tokenizer.train(TokenizerSide(kind=kind, vocab_size=300), [TEXT]) for kind in KINDS
}
WORDS = TOKENIZERS["words"]
EXAMPLES = {
    "seq2seq": [Pair(TEXT, (TEXT,), "x")] * 3,
    "causal": [Document(TEXT, "x")] * 3,
}
FAMILIES = {"seq2seq": "transformer", "causal": "gpt"}
RULED = {
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.5,
    "no_repeat_ngram": 3,
    "forbidden": ["cat"],
    "prefix": "the dog",
}


def test_a_search_by_default():
    assert write_options(Generation(), WORDS) == SearchOptions(4, 0.6)
    assert write_options(Generation(max_length=7), WORDS, 9).max_length == 7
    assert write_options(Generation(), WORDS, 9).max_length == 9


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_rules_and_stop_strings_are_for_searches_and_samples(temperature):
    options = write_options(
        Generation(temperature=temperature, stop=["on"], **RULED), WORDS, longest=30
    )
    repetition, frequency, no_repeat, forbidden = options.rules.parts
    assert (repetition, frequency, no_repeat) == (
        RepetitionPenalty(1.2),
        FrequencyPenalty(0.5),
        NoRepeat(3),
    )
    assert isinstance(forbidden, Forbidden)
    assert [ids.tolist() for ids in forbidden.by_length] == [[WORDS.encode("cat")]]
    assert list(options.rules.prefix) == WORDS.encode("the dog")
    assert options.stop == ("on",)
    assert options.limit(0) == 30
    assert isinstance(options, SampleOptions if temperature else SearchOptions)


def test_groups_of_a_beam():
    options = write_options(Generation(beam=6, groups=3, diversity=0.2), WORDS)
    assert options == SearchOptions(6, groups=Groups(3, 0.2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forbidden_text_is_known_alone_and_after_a_space(kind):
    tokenizer = TOKENIZERS[kind]
    parts = write_options(Generation(forbidden=["cat"]), tokenizer).rules.parts
    (forbidden,) = parts
    sequences = [row for ids in forbidden.by_length for row in ids.tolist()]
    assert tokenizer.encode("cat") in sequences
    assert {tokenizer.decode(ids).strip() for ids in sequences} == {"cat"}
    in_text = tokenizer.encode("a cat")
    assert any(in_text[-len(ids) :] == ids for ids in sequences)


def test_what_a_vocabulary_cannot_write_need_not_be_forbidden():
    assert not write_options(Generation(forbidden=["zebra", "é"]), WORDS).rules
    with pytest.raises(ValueError, match="prefix 'the zebra': the vocabulary lacks a character"):
        write_options(Generation(prefix="the zebra"), WORDS)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"beam": 4, "groups": 3}, "groups: a beam of 4 has no 3 equal parts"),
        ({"groups": 2, "temperature": 1.0}, "groups are parts of a beam"),
        ({"forbidden": [""]}, "at least 1 character"),
        ({"stop": [""]}, "at least 1 character"),
        ({"frequency_penalty": -0.5}, "greater than or equal to 0"),
        ({"no_repeat_ngram": -1}, "greater than or equal to 0"),
        ({"diversity": 0.0}, "greater than 0"),
    ],
)
def test_keys_out_of_range_are_refused(keys, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        Generation(**keys)


# ---- the tasks -----------------------------------------------------------------------------------


@pytest.fixture(params=EXAMPLES)
def write(request, bind, network_of):
    """A function from keys of `[generation]` to what is written for two inputs."""
    kind = request.param
    task = bind(kind, EXAMPLES[kind])
    network = network_of(task, FAMILIES[kind], dropout=0.0)

    def write(n=1, **keys):
        predictor = task.predictor(network, Generation(**{"max_length": 12} | keys))
        inputs = ["the cat", "the dog sat"]
        rows = predictor.results(inputs, n)
        return [[result.fields["text"] for result in row] for row in rows]

    return write


@pytest.mark.parametrize("how", [{"beam": 1}, {"beam": 3}, {"temperature": 1.0}], ids=str)
def test_what_is_asked_for_is_done(write, how):
    free = write(**how)
    if how != {"beam": 3}:  # which finds short texts
        assert all(len(set(text.split())) < len(text.split()) for (text,) in free)
    for (text,) in write(no_repeat_ngram=1, **how):
        assert len(set(text.split())) == len(text.split())
    for (text,) in write(forbidden=["sat", "cat on"], **how):
        assert "sat" not in text
        assert "cat on" not in text
    for (text,) in write(prefix="dog on", **how):
        assert text.split()[:2] == ["dog", "on"]
    for (text,), (whole,) in zip(write(stop=["at", "o"], **how), free, strict=True):
        assert "at" not in text
        assert "o" not in text
        assert how == {"beam": 3} or whole.startswith(text)


def test_samples_are_as_many_as_asked_for_and_follow_from_the_seed(write):
    drawn = write(n=3, temperature=1.5, seed=1)
    assert [len(set(row)) for row in drawn] == [3, 3]
    assert write(n=1, temperature=1.5, seed=1) == [row[:1] for row in drawn]
    assert write(n=3, temperature=1.5, seed=2) != drawn


def test_the_best_of_each_group_come_first(write):
    found = write(n=3, beam=3, groups=3, diversity=50.0)
    assert found != write(n=3, beam=3)
    assert all(len(set(row)) >= 2 for row in found)


def test_spans_have_no_stop_strings_but_the_rest(bind, network_of):
    task = bind("spans", EXAMPLES["causal"])
    network = network_of(task, "transformer")
    with pytest.raises(ValueError, match=r"generation\.stop ends a text, but spans are several"):
        task.predictor(network, Generation(stop=["a"]))
    text = "the cat <extra_id_0> on the mat"
    for keys in ({"beam": 2, "groups": 2}, {"temperature": 1.0, "seed": 3}):
        given = Generation(max_length=5, forbidden=["sat"], **keys)
        results = task.predictor(network, given).results([text, text], n=3)
        assert [len(row) for row in results] == [3, 3]
        assert not any("sat" in r.fields["text"].split() for row in results for r in row)
