"""BLEU, chrF and TER are sacrebleu's, also with a different number of references in each row."""

from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS, make

TWINS = {
    "bleu": lambda lc: BLEU(lowercase=lc, tokenize="13a"),
    "chrf": lambda lc: CHRF(lowercase=lc),
    "ter": lambda lc: TER(case_sensitive=not lc),
}
HYPOTHESES = [
    "The cat sat on the mat .",
    "a Dog barks at the moon, loudly.",
    "one two three four five",
]
ONE = [("The cat sat on a mat .",), ("A dog barks at the moon.",), ("one two three four six",)]
RAGGED = [
    (*ONE[0], "A cat was on the mat.", "the cat"),
    ONE[1],
    (*ONE[2], "one two three four five"),
]


def twin(name, hypotheses, references, lowercase):
    scorer = TWINS[name](lowercase)
    value = scorer.corpus_score(hypotheses, list(zip_longest(*references))).score
    return value, str(scorer.get_signature())


@pytest.mark.parametrize("references", [ONE, RAGGED], ids=["one", "ragged"])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("name", TWINS)
def test_equals_sacrebleu(name, lowercase, references):
    score = METRICS[name](Evaluation(lowercase=lowercase)).score(HYPOTHESES, references)
    assert (score.value, score.signature) == twin(name, HYPOTHESES, references, lowercase)


def test_signature_names_case_tokenizer_and_number_of_references():
    bleu = METRICS["bleu"](Evaluation(lowercase=True, tokenize="intl"))
    assert "nrefs:1|case:lc|eff:no|tok:intl" in bleu.score(HYPOTHESES, ONE).signature
    assert "nrefs:var" in bleu.score(HYPOTHESES, RAGGED).signature


@pytest.mark.parametrize("name", TWINS)
def test_the_best_reference_counts_wherever_it_stands(name):
    metric = METRICS[name](Evaluation())
    perfect = 0.0 if name == "ter" else 100.0
    for row in [("the cat sat on the mat", "no"), ("no", "the cat sat on the mat")]:
        value = metric.score(
            ["the cat sat on the mat", "and a second row of words"], [row, row]
        ).value
        alone = metric.score(["the cat sat on the mat"], [row]).value
        assert alone == pytest.approx(perfect)
        assert (value > alone) is (name == "ter")


words = st.lists(st.sampled_from(["a", "b", "ü", "Ein", "."]), max_size=6).map(" ".join)
row = st.tuples(words, st.lists(words, min_size=1, max_size=3).map(tuple))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(row, min_size=1, max_size=4))
@pytest.mark.parametrize("name", TWINS)
def test_any_rows_score_as_in_sacrebleu(name, rows):
    hypotheses, references = [row[0] for row in rows], [row[1] for row in rows]
    score = METRICS[name](Evaluation()).score(hypotheses, references)
    assert (score.value, score.signature) == twin(name, hypotheses, references, False)


def test_unknown_tokenizer_is_refused_before_anything_is_scored():
    with pytest.raises(ValueError, match="unknown BLEU tokenizer '13b'; did you mean '13a'"):
        make(["bleu"], Evaluation(tokenize="13b"))
