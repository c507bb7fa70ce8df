"""Exact match and error rates, against edit distance written as its definition."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS, edit_distance


def by_recursion(a, b):
    @cache
    def distance(i, j):
        if not i or not j:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return distance(len(a), len(b))


tokens = st.lists(st.sampled_from("abc"), max_size=12)


@given(tokens, tokens)
def test_edit_distance_equals_its_definition(a, b):
    assert edit_distance(a, b) == by_recursion(a, b)


@given(tokens, tokens, tokens)
def test_edit_distance_is_a_metric(a, b, c):
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_edit_distance_of_more_tokens_than_a_machine_word_has_bits():
    a = [i % 7 for i in range(100)]
    b = [i % 5 for i in range(80)]
    assert edit_distance(a, b) == by_recursion(a, b)


HYPOTHESES = ["F OW N", "K AE T", "D AO G Z", ""]
REFERENCES = [("F OW N",), ("K AA T", "K AE T"), ("D AO G", "D AA G S"), ("HH AH",)]


def score(name, lowercase=False, hypotheses=HYPOTHESES, references=REFERENCES):
    return METRICS[name](Evaluation(lowercase=lowercase)).score(hypotheses, references)


def test_a_row_is_right_if_it_equals_any_reference():
    assert score("exact_match").value == 0.5
    assert score("wer").value == 0.5


def test_per_takes_the_nearest_reference_and_divides_the_sums():
    assert score("per").value == pytest.approx((0 + 0 + 1 + 2) / (3 + 3 + 3 + 2))


def test_per_prefers_the_longer_of_equally_near_references_in_any_order():
    for row in [("a", "a b c"), ("a b c", "a")]:
        assert score("per", hypotheses=["a b"], references=[row]).value == pytest.approx(1 / 3)


def test_per_of_empty_references():
    assert score("per", hypotheses=["", ""], references=[("",), ("",)]).value == 0
    assert score("per", hypotheses=["a b"], references=[("",)]).value == 1


def test_case_counts_unless_the_recipe_lowers_it():
    upper = [tuple(text.upper() for text in row) for row in REFERENCES]
    lower = [text.lower() for text in HYPOTHESES]
    assert score("exact_match", hypotheses=lower, references=upper).value == 0
    for name in ("exact_match", "wer", "per"):
        assert score(name, True, lower, upper).value == score(name).value


def test_signatures_say_which_reference_and_which_tokens():
    assert score("per").signature == "per|case:mixed|refs:nearest|tok:space|v1"
    assert score("wer", lowercase=True).signature == "wer|case:lc|refs:any|v1"
