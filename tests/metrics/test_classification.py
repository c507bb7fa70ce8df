"""Labels and numbers, against scikit-learn and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn
from sklearn.preprocessing import MultiLabelBinarizer

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS, confusion


def score(name, hypotheses, references, **evaluation):
    return METRICS[name](Evaluation(**evaluation)).score(hypotheses, references)


def alone(texts):
    return [(text,) for text in texts]


pairs = st.lists(st.tuples(*[st.sampled_from("abcd")] * 2), min_size=1, max_size=12)
sets = st.sets(st.sampled_from(["a", "b", "c d"]))
numbers = st.integers(-5, 5) | st.floats(-1e6, 1e6)
points = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12)


@given(pairs)
def test_one_label_as_in_scikit_learn(rows):
    said, right = zip(*rows, strict=True)
    assert score("accuracy", said, alone(right)).value == pytest.approx(
        sklearn.accuracy_score(right, said)
    )
    assert score("macro_f1", said, alone(right)).value == pytest.approx(
        sklearn.f1_score(right, said, average="macro", zero_division=0)
    )


@given(st.lists(st.tuples(sets, sets), min_size=1, max_size=8))
def test_several_labels_as_in_scikit_learn(rows):
    said, right = zip(*rows, strict=True)
    ones = MultiLabelBinarizer(classes=["a", "b", "c d"]).fit([])
    expected = sklearn.f1_score(
        ones.transform(right), ones.transform(said), average="micro", zero_division=1
    )
    references = [tuple(labels) or ("",) for labels in right]
    found = score("micro_f1", ["\t".join(labels) for labels in said], references)
    assert found.value == pytest.approx(expected)


def test_several_labels_by_hand():
    assert score("micro_f1", ["a\tb", "", "c"], [("b", "d"), ("",), ("c",)]).value == 2 * 2 / 6
    assert score("micro_f1", ["", ""], [("",), ("",)]).value == 1
    assert score("micro_f1", ["a\ta"], [("a", "a")]).value == 1


@given(pairs)
def test_confusion_as_in_scikit_learn(rows):
    said, right = zip(*rows, strict=True)
    table = confusion(said, alone(right))
    assert list(table) == sorted({*said, *right})
    assert all(list(row) == sorted(row) for row in table.values())
    dense = [[table.get(label, {}).get(other, 0) for other in "abcd"] for label in "abcd"]
    assert dense == sklearn.confusion_matrix(right, said, labels=list("abcd")).tolist()
    assert all(count for row in table.values() for count in row.values())


def test_confusion_names_a_label_that_is_only_said():
    assert confusion(["b", "a"], [("a",), ("a",)]) == {"a": {"a": 1, "b": 1}, "b": {}}


def test_confusion_refuses_wrong_rows():
    with pytest.raises(ValueError, match="confusion: 1 hypotheses but 2 rows"):
        confusion(["a"], [("a",), ("b",)])
    with pytest.raises(ValueError, match="confusion: row 0 has 2 references; give it one"):
        confusion(["a"], [("a", "b")])


@given(points)
def test_numbers_as_in_scipy_and_scikit_learn(rows):
    said, right = np.array(rows, float).T
    texts, references = [repr(float(x)) for x in said], [(repr(float(x)),) for x in right]
    assert score("squared_error", texts, references).value == pytest.approx(
        sklearn.mean_squared_error(right, said)
    )
    if len({*said}) == 1 or len({*right}) == 1:
        assert score("pearson", texts, references).value == 0
        assert score("spearman", texts, references).value == 0
        return
    assert score("spearman", texts, references).value == pytest.approx(
        stats.spearmanr(said, right).statistic, abs=1e-9
    )
    if min(np.ptp(said), np.ptp(right)) > 1e-3:  # else scipy warns
        assert score("pearson", texts, references).value == pytest.approx(
            stats.pearsonr(said, right).statistic, abs=1e-9
        )


def test_correlation_of_numbers_that_are_small_or_all_alike():
    small = ["1e-200", "2e-200", "4e-200"]
    assert score("pearson", small, alone(["1", "2", "4"])).value == pytest.approx(1)
    assert score("pearson", ["0.1"] * 3, alone(small)).value == 0
    assert score("spearman", ["3"], [("3",)]).value == 0


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "pearson", "spearman", "squared_error"])
def test_one_reference_a_row(name):
    with pytest.raises(ValueError, match=f"{name}: row 1 has 2 references; give it one, or take"):
        score(name, ["1", "2"], [("1",), ("1", "2")])


@pytest.mark.parametrize("text", ["much", "", "nan", "inf", "1,5"])
@pytest.mark.parametrize("name", ["pearson", "spearman", "squared_error"])
def test_what_is_no_number(name, text):
    message = f"{name}: the hypothesis of row 1, '{text}', is not a finite number"
    with pytest.raises(ValueError, match=message):
        score(name, ["1", text], [("1",), ("2",)])
    with pytest.raises(ValueError, match=f"{name}: the reference of row 0, '{text}', is not"):
        score(name, ["1", "2"], [(text,), ("2",)])


def test_labels_keep_their_case_whatever_the_recipe_says():
    for name in ("accuracy", "macro_f1", "micro_f1"):
        assert score(name, ["A"], [("a",)], lowercase=True).value == 0


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("accuracy", "accuracy|case:mixed|refs:one|v1"),
        ("macro_f1", "macro_f1|case:mixed|refs:one|labels:either|v1"),
        ("micro_f1", "micro_f1|case:mixed|refs:all|sep:tab|v1"),
        ("pearson", "pearson|refs:one|constant:0|v1"),
        ("spearman", "spearman|refs:one|ties:mean|constant:0|v1"),
        ("squared_error", "squared_error|refs:one|v1"),
    ],
)
def test_signatures(name, signature):
    assert score(name, ["1", "2"], alone("12"), lowercase=True).signature == signature
