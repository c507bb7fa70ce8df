"""Where texts end, and what of them is certain before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sublayer.generation.stopping import Stops, cut
from sublayer.text.special import Special

letters = st.text("ab", max_size=12)
stop_strings = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def test_the_special_ids_say_where_to_stop():
    assert Stops.of(Special()) == Stops(ends=(2,), never=(0, 1))
    assert Stops.of(Special(pad=0, bos=0, eos=1)) == Stops(ends=(1,), never=(0,))
    assert Stops.of(Special(pad=7, bos=7, eos=7)) == Stops(ends=(7,), never=())


def test_a_vocabulary_may_have_neither_end_nor_begin():
    class Bare:
        pad = bos = eos = None

    assert Stops.of(Bare()) == Stops()


def test_what_may_begin_a_stop_string_is_held():
    assert cut("one\nUs", ["\nUser:"]) == ("one", "\nUs", False)
    assert cut("one\nUser: two", ["\nUser:"]) == ("one", "", True)
    assert cut("one", ["\nUser:"]) == ("one", "", False)
    assert cut("xaab", ["aabc", "b!"]) == ("x", "aab", False)
    assert cut("abc", ["c", "b"]) == ("a", "", True)


@given(letters, stop_strings)
def test_letter_by_letter_gives_the_text_before_the_first_stop_string(text, stop):
    certain, held, stopped = "", "", False
    for end, letter in enumerate(text, 1):
        new, held, stopped = cut(held + letter, stop)
        certain += new
        assert not any(string in certain for string in stop)
        assert text.startswith(certain + held)
        if stopped:
            assert any(text[:end].endswith(string) for string in stop)
            break
    assert stopped == any(string in text for string in stop)
    if not stopped:
        assert certain + held == text


@given(letters, letters, stop_strings)
def test_what_is_certain_stays_whatever_comes(before, after, stop):
    certain, held, stopped = cut(before, stop)
    later, _, _ = cut(before + after, stop)
    if not stopped:
        assert certain + held == before
        assert later.startswith(certain)
