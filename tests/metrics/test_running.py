"""What every metric promises, whatever it counts."""

import pytest

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS, Metric, make


@pytest.fixture(params=list(METRICS))
def metric(request) -> Metric:
    return METRICS[request.param](Evaluation())


def test_filed_under_its_own_name(metric):
    assert metric.name in METRICS
    assert type(METRICS[metric.name](Evaluation())) is type(metric)


def test_right_is_best_and_wrong_is_worse(metric):
    texts = ["a b c d e", "f g h i j"]
    right = metric.score(texts, [(text,) for text in texts])
    wrong = metric.score(["x y z u v", "x y z u v"], [(text,) for text in texts])
    assert (right.value > wrong.value) is metric.higher_is_better
    assert right.signature == wrong.signature


def test_empty_output_is_scored(metric):
    assert metric.score([""], [("a b",)]).value in {0.0, 1.0, 100.0}


def test_wrong_rows_are_refused(metric):
    with pytest.raises(ValueError, match=f"{metric.name}: 2 hypotheses but 1 rows of references"):
        metric.score(["a", "b"], [("a",)])
    with pytest.raises(ValueError, match=f"{metric.name}: there are no rows"):
        metric.score([], [])
    with pytest.raises(ValueError, match=f"{metric.name}: row 1 has no reference"):
        metric.score(["a", "b"], [("a",), ()])


def test_make_keeps_the_order_of_the_recipe():
    assert [metric.name for metric in make(["wer", "bleu"], Evaluation())] == ["wer", "bleu"]


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown metric 'blue'; did you mean 'bleu'"):
        make(["blue"], Evaluation())
