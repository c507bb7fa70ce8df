"""ROUGE against its formulas and against rouge-score."""

from collections import Counter
from functools import cache
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS

NAMES = ["rouge1", "rouge2", "rougeL"]


def score(name, hypotheses, references):
    return METRICS[name](Evaluation()).score(hypotheses, references)


def in_common(name, a, b):
    """Matches and how many there could be on both sides together."""
    if name == "rougeL":

        @cache
        def longest(i, j):
            if not i or not j:
                return 0
            if a[i - 1] == b[j - 1]:
                return longest(i - 1, j - 1) + 1
            return max(longest(i - 1, j), longest(i, j - 1))

        return longest(len(a), len(b)), len(a) + len(b)
    n = int(name[-1])
    grams = [Counter(zip(*(x[i:] for i in range(n)), strict=False)) for x in (a, b)]
    return (grams[0] & grams[1]).total(), sum(x.total() for x in grams)


def f_measure(name, a, b):
    matches, most = in_common(name, a.split(), b.split())
    return 2 * matches / most if most else 0.0


texts = st.lists(st.sampled_from(["a", "b", "dogs", "7"]), max_size=7).map(" ".join)
row = st.tuples(texts, st.lists(texts, min_size=1, max_size=3).map(tuple))


@given(rows=st.lists(row, min_size=1, max_size=4))
@pytest.mark.parametrize("name", NAMES)
def test_equals_its_formula(name, rows):
    best = [max(f_measure(name, text, known) for known in references) for text, references in rows]
    hypotheses, references = zip(*rows, strict=True)
    assert score(name, hypotheses, references).value == pytest.approx(sum(best) / len(best))


@pytest.mark.parametrize("name", NAMES)
def test_equals_rouge_score(name):
    text, known = "The cats' mat: 2 cats sat on it!", "A cat sat on the mat (with 2 cats)."
    expected = RougeScorer([name]).score(known, text)[name].fmeasure
    assert 0 < expected < 1
    assert score(name, [text], [(known,)]).value == expected


def test_words_are_not_stemmed_and_case_and_punctuation_do_not_count():
    assert score("rouge1", ["running"], [("run",)]).value == 0
    assert score("rouge1", ["The Dog!"], [("the dog",)]).value == 1


def test_signature_names_the_package():
    rule = "case:lc|refs:best|avg:rows|stem:no|tok:a-z0-9"
    expected = f"rougeL|{rule}|rouge-score:{version('rouge-score')}|v1"
    assert score("rougeL", ["a"], [("a",)]).signature == expected
