"""Answers against SQuAD's evaluation, written as in the script of version 2.0."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS


def score(name, hypotheses, references):
    return METRICS[name](Evaluation()).score(hypotheses, references)


def normalize(text):
    text = "".join(ch for ch in text.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split())


def exact(gold, said):
    return int(normalize(gold) == normalize(said))


def f1(gold, said):
    gold, said = normalize(gold).split(), normalize(said).split()
    same = sum((Counter(gold) & Counter(said)).values())
    if len(gold) == 0 or len(said) == 0:
        return int(gold == said)
    if same == 0:
        return 0
    precision, recall = same / len(said), same / len(gold)
    return 2 * precision * recall / (precision + recall)


words = ["the", "The", "a", "an", "cat.", "cat", "U.S.", "us", "Athens", "(cat)", "ein-e"]
texts = st.lists(st.sampled_from(words), max_size=4).map(" ".join)
row = st.tuples(texts, st.lists(texts, min_size=1, max_size=3).map(tuple))


@given(rows=st.lists(row, min_size=1, max_size=4))
@pytest.mark.parametrize(("name", "official"), [("answer_exact", exact), ("answer_f1", f1)])
def test_as_squads_script(name, official, rows):
    values = []
    for said, references in rows:
        gold = [text for text in references if normalize(text)] or [""]
        values.append(max(official(text, said) for text in gold))
    hypotheses, references = zip(*rows, strict=True)
    found = score(name, hypotheses, references).value
    assert found == pytest.approx(sum(values) / len(values))


def test_case_articles_and_punctuation_do_not_count():
    assert score("answer_exact", ["the U.S."], [("US",)]).value == 1
    assert score("answer_exact", ["Athena"], [("a Thena",)]).value == 0


def test_best_reference_and_shared_words():
    assert score("answer_f1", ["a black cat"], [("dog", "the cat")]).value == pytest.approx(2 / 3)
    assert score("answer_f1", ["cat cat"], [("cat",)]).value == pytest.approx(2 / 3)


def test_no_answer_is_the_empty_text():
    for name in ("answer_exact", "answer_f1"):
        assert score(name, ["", "cat"], [("",), ("",)]).value == 0.5
        assert score(name, [""], [("cat",)]).value == 0


def test_signatures():
    for name in ("answer_exact", "answer_f1"):
        expected = f"{name}|case:lc|refs:best|avg:rows|norm:squad2|v1"
        assert score(name, ["a"], [("b",)]).signature == expected
