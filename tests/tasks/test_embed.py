"""Vectors of texts: of length 1, the same in any batch, and ranked right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sublayer.data.pair import Pair

PAIRS = [
    Pair("red apple", ("a fruit",)),
    Pair("green apple", ("a fruit",)),
    Pair("red apple", ("something red",)),
    Pair("fast car", ("a machine", "it drives")),
    Pair(" ", ("nothing",)),
]


@pytest.fixture
def task(bind):
    return bind("embed", PAIRS, data={"max_source": 12, "max_target": 16})


@pytest.fixture
def predictor(task, network_of, generation):
    return task.predictor(network_of(task, "bert", max_length=16), generation)


def test_every_target_is_a_pair_and_empty_ones_are_left_out(task, rows_of):
    rows, notes = rows_of(task, PAIRS)
    assert (len(rows), notes["skipped_empty"], notes["cut"]) == (5, 1, 0)
    tokenizer = task.vocabulary.text
    assert [(tokenizer.decode(a.tolist()), tokenizer.decode(b.tolist())) for a, b in rows] == [
        (p.source, t) for p in PAIRS[:4] for t in p.targets
    ]


def test_what_is_alike(task, rows_of):
    """Neither another's target that is the same text, nor that of a source that is."""
    rows, _ = rows_of(task, PAIRS)
    batch = task.collate(rows, np.random.default_rng(0))
    texts = [(p.source, t) for p in PAIRS[:4] for t in p.targets]
    expected = [
        [i != j and (a == c or b == d) for j, (c, d) in enumerate(texts)]
        for i, (a, b) in enumerate(texts)
    ]
    assert batch.alike.tolist() == expected
    assert batch.tokens == 5
    assert batch.read == sum(len(a) + len(b) for a, b in rows)


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_vectors_do_not_depend_on_their_neighbours(bind, network_of, generation, family, pooling):
    task = bind("embed", PAIRS, pooling=pooling, data={"max_source": 12, "max_target": 16})
    network = network_of(task, family, max_length=16)
    predictor = task.predictor(network, generation.model_copy(update={"batch_tokens": 20}))
    texts = ["red apple", "", "a machine it drives", "car " * 40, "fruit"]
    together = predictor.vectors(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([predictor.vectors([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert predictor.shortened == 2  # once together, once alone


def test_results(predictor):
    (result,) = predictor.results(["red apple"])[0]
    vector = predictor(["red apple"])[0]
    assert json.loads(json.dumps(result.fields))["vector"] == pytest.approx(vector.tolist())
    assert list(map(float, result.text.split())) == pytest.approx(vector.tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="a text has one vector, not 2"):
        predictor.results(["red"], 2)
    with pytest.raises(ValueError, match="give a list of texts, not one text"):
        predictor("red")
    assert predictor([]) == []


def test_ranks_by_brute_force(task, predictor):
    pairs = [p for p in PAIRS if p.source.strip()]
    heard = []
    outcome = task.score(predictor, pairs, heard.append)
    known = list(dict.fromkeys(t for p in pairs for t in p.targets))
    vectors = dict(zip(known, predictor.vectors(known), strict=True))
    ranks = []
    for pair in pairs:
        source = predictor.vectors([pair.source])[0]
        order = sorted(known, key=lambda t: -float(vectors[t] @ source))
        ranks.append(1 + min(order.index(t) for t in pair.targets))
    values = {name: score.value for name, score in outcome.metrics.items()}
    assert values["recall_at_1"] == pytest.approx(sum(r <= 1 for r in ranks) / len(ranks))
    assert values["recall_at_10"] == 1
    assert values["mrr"] == pytest.approx(sum(1 / r for r in ranks) / len(ranks))
    assert outcome.setting == "among 4 targets"
    assert sum(heard) == len(pairs)
    assert set(outcome.outputs) <= set(known)


def test_samples_show_the_nearest(task, predictor):
    samples = task.samples(predictor, PAIRS[:4])
    near = (
        predictor.vectors([p.source for p in PAIRS[:4]])
        @ predictor.vectors([p.targets[0] for p in PAIRS[:4]]).T
    )
    assert [s.output for s in samples] == [PAIRS[i].targets[0] for i in near.argmax(1)]
