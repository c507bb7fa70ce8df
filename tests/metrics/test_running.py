"""What every metric promises, whatever it counts."""

import subprocess
import sys

import pytest

from sublayer.config.schema import Evaluation
from sublayer.metrics import METRICS, Metric, make

TEXTS = ["a b c d e", "f g h i j"], ["x y z u v", "x y z u v"]
NUMBERS = ["1", "2.5"], ["2.5", "1"]
RIGHT_AND_WRONG = {
    "entity_f1": (["B-A I-A O", "B-A O"], ["O B-A O", "O B-B"]),
    "pearson": NUMBERS,
    "spearman": NUMBERS,
    "squared_error": NUMBERS,
}
OF_ONE_FORM = {*RIGHT_AND_WRONG, "word_accuracy", "word_f1"}


@pytest.fixture(params=list(METRICS))
def metric(request) -> Metric:
    return METRICS[request.param](Evaluation())


def test_filed_under_its_own_name(metric):
    assert metric.name in METRICS
    assert type(METRICS[metric.name](Evaluation())) is type(metric)


def test_right_is_best_and_wrong_is_worse(metric):
    texts, others = RIGHT_AND_WRONG.get(metric.name, TEXTS)
    right = metric.score(texts, [(text,) for text in texts])
    wrong = metric.score(others, [(text,) for text in texts])
    assert (right.value > wrong.value) is metric.higher_is_better
    assert right.signature == wrong.signature


def test_empty_output_is_scored_unless_the_output_has_a_form(metric):
    if metric.name in OF_ONE_FORM:
        with pytest.raises(ValueError, match=f"{metric.name}: .*row 0"):
            metric.score([""], [("1",)])
    else:
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


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("entity_f1", "seqeval.metrics", "seqeval"),
        ("rouge2", "rouge_score.rouge_scorer", "rouge-score"),
    ],
)
def test_without_the_package(monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"{name} needs the package {package}: pip install 'sublayer\[metrics\]'"
    with pytest.raises(ValueError, match=message):
        make([name], Evaluation())


def test_packages_of_single_metrics_are_not_imported_before_they_are_asked_for():
    packages = {"nltk", "rouge_score", "sacrebleu", "scipy", "seqeval", "sklearn"}
    program = f"import sys, sublayer.metrics; print(*{packages} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
