"""Tags of words against scikit-learn, entities against their definition."""

from itertools import chain

import pytest
import seqeval.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS

NAMES = ["entity_f1", "word_accuracy", "word_f1"]


def score(name, said, right):
    metric = METRICS[name](Evaluation(lowercase=True))
    return metric.score([" ".join(row) for row in said], [(" ".join(row),) for row in right])


def sentences(tags):
    """Rows of equally many tags on both sides; some of no tag, not all."""
    row = st.lists(st.tuples(st.sampled_from(tags), st.sampled_from(tags)), max_size=8)
    return st.lists(row, min_size=1, max_size=5).filter(any)


def sides(rows):
    return [[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows]


@given(sentences(["DET", "NOUN", "noun"]))
def test_words_as_in_scikit_learn(rows):
    said, right = sides(rows)
    flat = list(chain(*right)), list(chain(*said))
    assert score("word_accuracy", said, right).value == pytest.approx(sklearn.accuracy_score(*flat))
    assert score("word_f1", said, right).value == pytest.approx(
        sklearn.f1_score(*flat, average="macro", zero_division=0)
    )


TYPED = [f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC")]


@given(sentences(["O", *TYPED]))
def test_entities_as_in_seqeval(rows):
    said, right = sides(rows)
    assert score("entity_f1", said, right).value == pytest.approx(
        seqeval.metrics.f1_score(right, said, zero_division=1)
    )


spans = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["", "PER", "LOC"])), min_size=1)


def written(row, ends):
    """Tags of stretches of `(length, type)`, and the entities in them."""
    tags, entities = [], set()
    for length, kind in row:
        if kind:
            entities.add((len(tags), length, kind))
            marks = ["B"] + ["I"] * (length - 1)
            if ends:
                marks[-1] = "S" if length == 1 else "E"
            tags += [f"{mark}-{kind}" for mark in marks]
        else:
            tags += ["O"] * length
    return tags, entities


@pytest.mark.parametrize("ends", [False, True], ids=["BIO", "IOBES"])
@given(rows=st.lists(st.tuples(spans, spans), min_size=1, max_size=4))
def test_entities_by_their_definition(rows, ends):
    said, right, common, total = [], [], 0, 0
    for pair in rows:
        (a, found), (b, known) = (written(row, ends) for row in pair)
        longest = max(len(a), len(b))
        said.append(a + ["O"] * (longest - len(a)))
        right.append(b + ["O"] * (longest - len(b)))
        common += len(found & known)
        total += len(found) + len(known)
    expected = 2 * common / total if total else 1.0
    assert score("entity_f1", said, right).value == pytest.approx(expected)


def test_an_entity_may_begin_inside_as_in_conlleval():
    assert score("entity_f1", [["O", "I-PER", "I-LOC"]], [["O", "B-PER", "B-LOC"]]).value == 1


def test_entities_do_not_reach_into_the_next_row():
    rows = [["O", "B-PER"], ["I-PER", "O"]]
    assert score("entity_f1", [*rows, ["O"]], [*rows, ["B-PER"]]).value == pytest.approx(4 / 5)


def test_rows_without_entities():
    assert score("entity_f1", [["O", "O"]], [["O", "O"]]).value == 1
    assert score("entity_f1", [["O", "B-A"]], [["O", "O"]]).value == 0


@pytest.mark.parametrize("tag", ["NOUN", "L-PER", "B", "B-", "", "o"])
def test_tags_that_mark_no_entities(tag):
    message = f"entity_f1: row 1 has the tag '{tag}', but entities are tagged B-X.*word_f1"
    with pytest.raises(ValueError, match=message):
        score("entity_f1", [["O"], ["O", "O"]], [["O"], ["O", tag]])
    with pytest.raises(ValueError, match=message):
        score("entity_f1", [["O"], ["O", tag]], [["O"], ["O", "O"]])


@pytest.mark.parametrize("name", NAMES)
def test_wrong_numbers_of_tags_are_refused(name):
    message = f"{name}: row 1 has 1 tags but its reference has 2; give one tag for each word"
    with pytest.raises(ValueError, match=message):
        score(name, [["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ValueError, match=f"{name}: no row has a tag"):
        score(name, [[], []], [[], []])
    with pytest.raises(ValueError, match=f"{name}: row 0 has 2 references"):
        METRICS[name](Evaluation()).score(["O"], [("O", "O")])


def test_signatures():
    def signature(name):
        return score(name, [["O"]], [["O"]]).signature

    assert signature("word_accuracy") == "word_accuracy|case:mixed|words:pooled|v1"
    assert signature("word_f1") == "word_f1|case:mixed|words:pooled|tags:either|v1"
    start = "entity_f1|case:mixed|entities:conlleval|avg:micro|seqeval:"
    assert signature("entity_f1").startswith(start)
