"""Pieces join to the whole text, whatever the tokens; nothing uncertain is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import TokenizerSide
from sublayer.generation.pieces import Pieces
from sublayer.text.tokenizer import Tokenizer

TEXTS = [
    "the cat sat.",
    "a café, naïve?",
    "日本語 text 🙂🙃 end",
    "don't play-acting",
    "tab\there  two",
]
KINDS = {
    kind: Tokenizer.train(TokenizerSide(kind=kind, vocab_size=size), TEXTS)
    for kind, size in [
        ("characters", 90),
        ("words", 90),
        ("bpe", 280),
        ("unigram", 280),
        ("wordpiece", 120),
    ]
}


def pushed(pieces, ids):
    return [piece for id in ids if not pieces.stopped for piece in [pieces.push(id)]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_after_a_prompt_join_to_what_the_ids_add_to_it(kind, text):
    tokenizer = KINDS[kind]
    ids = tokenizer.encode(text)
    for n in range(len(ids)):
        before, after = [1, *ids[:n]], ids[n:]
        if tokenizer.decode(before).endswith("\ufffd"):
            continue  # a prompt is whole characters
        pieces = Pieces(tokenizer.decode, before)
        shown = "".join(pushed(pieces, after))
        assert "\ufffd" not in shown
        assert tokenizer.decode(before) + shown + pieces.finish() == tokenizer.decode(ids)


@given(st.text(max_size=20), st.sampled_from(["bpe", "unigram"]))
def test_any_text_comes_whole(text, kind):
    tokenizer = KINDS[kind]
    pieces = Pieces(tokenizer.decode, [1])
    shown = "".join([*pushed(pieces, tokenizer.encode(text)), pieces.finish()])
    assert shown == text.rstrip("\ufffd")


@given(st.lists(st.integers(0, 279), max_size=20), st.sampled_from(["bpe", "unigram"]))
def test_any_ids_give_their_text_but_for_a_character_that_is_cut(ids, kind):
    tokenizer = KINDS[kind]
    ids = [id for id in ids if id < tokenizer.vocab_size]
    pieces = Pieces(tokenizer.decode, [1, *tokenizer.encode("so")])
    whole = tokenizer.decode([*tokenizer.encode("so"), *ids])[2:]
    assert pieces.all(ids) == whole.rstrip("\ufffd")


def test_a_character_waits_for_its_last_byte():
    tokenizer = KINDS["bpe"]
    ids = tokenizer.encode("x🙂")
    of_smile = ids[len(tokenizer.encode("x")) :]
    unlearned = Tokenizer.train(TokenizerSide(kind="bpe", vocab_size=260), ["x"])
    ids = unlearned.encode("x🙂y")
    pieces = Pieces(unlearned.decode, [1])
    shown = pushed(pieces, ids)
    assert [piece for piece in shown if piece] == ["x", "🙂", "y"]
    assert len(of_smile) <= 4 < len(ids)


@pytest.mark.parametrize("kind", ["characters", "bpe", "unigram"])
def test_text_ends_before_a_stop_string_that_spans_tokens(kind):
    tokenizer = KINDS[kind]
    ids = tokenizer.encode("the cat sat. a cat")
    pieces = Pieces(tokenizer.decode, [1], stop=("at s", "zebra"))
    shown = pushed(pieces, ids)
    assert pieces.stopped
    assert "".join(shown) == "the c"
    assert pieces.finish() == ""
    for n in range(len(shown)):
        assert "the cat sat.".startswith("".join(shown[:n]))


def test_a_stop_string_that_does_not_come_is_text():
    tokenizer = KINDS["characters"]
    pieces = Pieces(tokenizer.decode, [1], stop=("sat!",))
    shown = pushed(pieces, tokenizer.encode("the cat sat"))
    assert "".join(shown) == "the cat "
    assert not pieces.stopped
    assert pieces.finish() == "sat"


def test_the_prompt_is_no_part_of_a_stop_string():
    tokenizer = KINDS["characters"]
    pieces = Pieces(tokenizer.decode, tokenizer.encode("the c"), stop=("cat",))
    assert pieces.all(tokenizer.encode("at cat")) == "at "


def test_nothing_comes_after_a_stop_string():
    tokenizer = KINDS["characters"]
    pieces = Pieces(tokenizer.decode, [], stop=("c",))
    assert pieces.all(tokenizer.encode("tact")) == "ta"
    with pytest.raises(AssertionError, match="nothing comes after a stop string"):
        pieces.push(5)


def test_pieces_with_one_token_more_leave_the_others_as_they_are():
    tokenizer = KINDS["characters"]
    ids = tokenizer.encode("the cat")
    pieces = Pieces(tokenizer.decode, [1], stop=("ca",))
    for id in ids[:-2]:
        pieces.push(id)
    stopped = pieces.then(ids[-2])
    assert stopped.stopped
    assert not pieces.stopped
    assert stopped.then(ids[-1]).stopped
    assert not pieces.then(ids[0]).stopped
    assert pieces.push(ids[-2]) == ""
    assert pieces.stopped
