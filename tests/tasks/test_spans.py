"""Span corruption: nothing is lost, and what is taken out is as much as was asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.objective import SpansObjective
from sublayer.data.example import Document
from sublayer.generation.hypothesis import Hypothesis
from sublayer.tasks.spans import corrupt, lengths_of, split_at

SENTINELS = tuple(range(1000, 1100))
TEXT = "the cat sat on the mat . the dog sat on the cat . the mat was flat ."
DOCUMENTS = [Document(TEXT, "x")] * 3


def settings_of(share: float = 0.15, span: float = 3.0) -> SpansObjective:
    return SpansObjective(kind="spans", share=share, span=span)


def joined(source: list[int], target: list[int]) -> list[int]:
    fills = split_at(target, SENTINELS)
    return [id for part in source for id in (fills[part] if part in SENTINELS else [part])]


@given(
    n=st.integers(3, 300),
    share=st.floats(0.01, 0.95),
    span=st.floats(1.0, 12.0),
    seed=st.integers(0, 99),
)
def test_nothing_is_lost(n, share, span, seed):
    ids = list(range(n))
    source, target = corrupt(ids, settings_of(share, span), SENTINELS, np.random.default_rng(seed))
    assert joined(source, target) == ids
    used = [id for id in target if id in SENTINELS]
    assert used == list(SENTINELS[: len(used)])  # in order, one more than spans
    assert [id for id in source if id in SENTINELS] == used[:-1]
    assert target[-1] == used[-1]
    assert source[0] not in SENTINELS
    kept = [(a in SENTINELS, b in SENTINELS) for a, b in pairwise(source)]
    assert (True, True) not in kept  # something stands between two spans


def test_short_text_and_more_spans_than_sentinels():
    ids = list(range(400))
    source, _ = corrupt(ids, settings_of(0.5, 1.0), SENTINELS, np.random.default_rng(0))
    assert sum(id in SENTINELS for id in source) == 99
    source, target = corrupt([7, 8], settings_of(), SENTINELS, np.random.default_rng(0))
    assert (source, target) == ([7, 1000], [1000, 8, 1001])


@pytest.mark.parametrize(("share", "span"), [(0.15, 3.0), (0.5, 5.0), (0.3, 1.0)])
def test_share_and_mean_length_are_those_asked_for(share, span):
    random = np.random.default_rng(0)
    taken = spans = n = 0
    for _ in range(50):
        _, target = corrupt(list(range(200)), settings_of(share, span), SENTINELS, random)
        signs = sum(id in SENTINELS for id in target) - 1
        taken, spans, n = taken + len(target) - signs - 1, spans + signs, n + 200
    assert taken / n == pytest.approx(share, abs=0.01)
    assert taken / spans == pytest.approx(span, rel=0.05)


def test_all_ways_of_cutting_are_equally_likely():
    random = np.random.default_rng(0)
    seen = [tuple(lengths_of(5, 3, random)) for _ in range(3000)]
    ways = set(seen)
    assert len(ways) == 6  # 4 over 2
    assert all(sum(way) == 5 and min(way) >= 1 for way in ways)
    expected = 3000 / 6
    assert sum((seen.count(way) - expected) ** 2 / expected for way in ways) < 20.5  # p = 0.001
    assert lengths_of(1, 1, random) == [1]


# ---- the task ------------------------------------------------------------------------------------


@pytest.fixture
def task(bind):
    return bind("spans", DOCUMENTS, length=16, share=0.4, span=2.0)


def test_a_batch_is_for_teacher_forcing(task, rows_of):
    rows, notes = rows_of(task, [*DOCUMENTS, Document("two words", "y"), Document(" ", "z")])
    assert notes == {"skipped_empty": 1}
    special = task.vocabulary.text.special
    assert len(special.sentinels) == 100
    batch = task.collate(rows, np.random.default_rng(1))
    sentinels = set(special.sentinels)
    for row, (ids, _) in enumerate(rows):
        source = [id for id in batch.source[row].tolist() if id != special.pad]
        target = [id for id in batch.target[row].tolist() if id != special.pad]
        assert (source[-1], target[0], target[-1]) == (special.eos, special.bos, special.eos)
        fills = split_at(target[1:-1], special.sentinels)
        text = [id for part in source[:-1] for id in (fills[part] if part in sentinels else [part])]
        assert text == ids.tolist()
    again, other = (task.collate(rows, np.random.default_rng(seed)) for seed in (1, 2))
    assert again.source.equal(batch.source)
    assert not (other.source.shape == batch.source.shape and other.source.equal(batch.source))


@pytest.mark.parametrize("tokenizer", ["words", "bpe", "characters"])
def test_a_sentinel_stands_where_it_stood_in_training(
    bind, network_of, generation, tokenizer, monkeypatch
):
    from sublayer.tasks import spans as module

    task = bind("spans", DOCUMENTS, tokenizer=tokenizer)
    tokenizer_, heard = task.vocabulary.text, []
    first, second, third, *_ = tokenizer_.special.sentinels

    ids = [first, *tokenizer_.encode("sat on"), second, *tokenizer_.encode("dog"), third]
    written = Hypothesis(ids, -1.0, -1.0, ended=True)
    monkeypatch.setattr(
        module,
        "generate",
        lambda network, source, *rest, **how: heard.append(source) or [[written]],
    )
    predictor = task.predictor(network_of(task, "transformer"), generation)
    given = TEXT.replace("sat on", "<extra_id_0>", 1).replace("dog", "<extra_id_1>", 1)
    (result,) = predictor.results([given])[0]
    assert result.text == TEXT
    assert result.fields["fills"] == ["sat on", "dog"]
    source = heard[0][0].tolist()
    fills = split_at(ids, (first, second, third))
    whole = [id for part in source[:-1] for id in fills.get(part, [part])]
    assert whole == tokenizer_.encode(TEXT)
    assert source[-1] == tokenizer_.special.eos


def test_a_text_without_a_sentinel(task, network_of, generation):
    predictor = task.predictor(network_of(task, "transformer"), generation)
    with pytest.raises(ValueError, match="'the cat' has no <extra_id_0>: put it where text is"):
        predictor(["the cat"])
    assert len(predictor(["the <extra_id_0> sat"])) == 1


def test_samples_and_score(task, network_of, generation):
    network = network_of(task, "transformer", position="learned", max_length=17)
    predictor = task.predictor(network, generation)
    (sample,) = task.samples(predictor, DOCUMENTS[:1])
    assert sample.source.count("<extra_id_0>") == 1
    assert TEXT.startswith(sample.reference)
    first, again = (task.score(predictor, DOCUMENTS, lambda rows: None) for _ in range(2))
    assert first.metrics == again.metrics
    assert first.metrics.keys() == {"nll", "perplexity"}
    with pytest.raises(ValueError, match="is left: "):
        task.score(predictor, [Document("a", "x")], lambda rows: None)


def test_a_model_with_too_few_places(task, network_of):
    with pytest.raises(ValueError, match=r"places for 16 tokens, objective\.length and the end"):
        network_of(task, "transformer", position="learned", max_length=16)
