"""Texts, or two, with one label, several, or a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import TokenizerSide
from sublayer.data.pair import Pair
from sublayer.tasks.classify import as_input
from sublayer.tasks.texts import rows_of as cut_rows
from sublayer.text.tokenizer import Tokenizer

ONE = [Pair("good film", ("pos",)), Pair("bad", ("neg",)), Pair("so so film here", ("mid",))]
TWO = [Pair("a b", ("yes",), "c"), Pair("d", ("no",), "e f g"), Pair("a", ("no",), "")]
SEVERAL = [Pair("a b", ("x", "z")), Pair("c", ("y",)), Pair("d e f", ("z",))]
NUMBERS = [Pair("a b", ("0.25",)), Pair("c", ("-3e2",)), Pair("d", ("7",))]
TOKENIZER = Tokenizer.train(TokenizerSide(kind="characters", vocab_size=40), ["abcdefgh"])


# ---- rows and batches ----------------------------------------------------------------------------


def test_one_label(bind, rows_of):
    task = bind("classify", ONE)
    assert task.vocabulary.labels == ("mid", "neg", "pos")
    rows, notes = rows_of(task, ONE)
    batch = task.collate(rows, np.random.default_rng(0))
    special = task.vocabulary.text.special
    for row, pair in enumerate(ONE):
        ids = [special.bos, *task.vocabulary.text.encode(pair.source), special.eos]
        assert batch.inputs[row].tolist() == ids + [special.pad] * (6 - len(ids))
        assert batch.valid[row].sum() == len(ids)
    assert [task.vocabulary.labels[i] for i in batch.labels] == ["pos", "neg", "mid"]
    assert (batch.tokens, batch.read, notes["cut"]) == (3, 4 + 3 + 6, 0)
    assert not batch.segments.any()


def test_two_texts_are_segments(bind, rows_of):
    task = bind("classify", TWO)
    rows, _ = rows_of(task, TWO)
    batch = task.collate(rows, np.random.default_rng(0))
    bos, eos = task.vocabulary.text.special.bos, task.vocabulary.text.special.eos
    encode = task.vocabulary.text.encode
    expected = [
        [bos, *encode("a b"), eos, *encode("c"), eos],
        [bos, *encode("d"), eos, *encode("e f g"), eos],
        [bos, *encode("a"), eos, eos],  # an empty second text is one
    ]
    segments = [[0] * 4 + [1] * 2 + [0], [0] * 3 + [1] * 4, [0] * 3 + [1] + [0] * 3]
    assert [row[:n].tolist() for row, n in zip(batch.inputs, (6, 7, 4), strict=True)] == expected
    assert batch.segments.tolist() == segments  # padding is of no second text


def test_an_end_in_a_text_begins_no_second_one(bind, rows_of, tmp_path):
    """Vocabularies made elsewhere read one where it is written."""
    from sublayer.data.store import Store

    examples = [*TWO, Pair("a b c", ("no",))]
    task = bind("classify", examples)
    rows, _ = rows_of(task, examples)
    for ids, _ in rows:
        ids[1] = task.vocabulary.text.special.eos
    store = Store.write(tmp_path / "store", rows, task.ids)
    batch = task.collate(store.rows(np.arange(4)), np.random.default_rng(0))
    segments = [[0] * 4 + [1] * 2, [0] * 3 + [1] * 4, [0] * 3 + [1], [0] * 5]
    assert [row[: len(s)].tolist() for row, s in zip(batch.segments, segments, strict=True)] == (
        segments
    )
    assert [task.vocabulary.labels[i] for i in batch.labels] == ["yes", "no", "no", "no"]


def test_several_labels(bind, rows_of):
    task = bind("classify", SEVERAL, targets="several")
    batch = task.collate(rows_of(task, SEVERAL)[0], np.random.default_rng(0))
    assert batch.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_numbers_come_back_from_the_store(bind, rows_of, tmp_path):
    from sublayer.data.store import Store

    task = bind("classify", NUMBERS, targets="number")
    store = Store.write(tmp_path / "store", task.encode(NUMBERS, {}), task.ids)
    batch = task.collate(store.rows(np.arange(3)), np.random.default_rng(0))
    assert batch.labels.tolist() == [0.25, -300.0, 7.0]
    assert batch.labels.dtype == torch.float32
    assert task.keys()["n_labels"] == 1


texts = st.text("abcdefgh", max_size=30)


@given(first=texts, second=texts, longest=st.integers(5, 40))
def test_of_two_texts_the_longer_is_cut_first(first, second, longest):
    """Token by token, as BERT's code does."""
    a, b = TOKENIZER.encode(first), TOKENIZER.encode(second)
    was_cut = False
    while len(a) + len(b) > longest - 3:
        (a if len(a) > len(b) else b).pop()
        was_cut = True
    (row,) = cut_rows([(first, second)], TOKENIZER, longest)
    ids, told = row.ids, row.was_cut
    assert told is was_cut
    assert len(ids) <= longest
    assert [ids.count(2), ids[0]] == [2, 1]
    end = ids.index(2)
    assert row.turn == end + 1
    assert abs((end - 1) - len(a)) <= (1 if was_cut else 0)  # a tie may go either way
    if not was_cut:
        assert ids == [1, *a, 2, *b, 2]


@given(text=texts, longest=st.integers(3, 40))
def test_one_text_is_cut_at_its_end(text, longest):
    ids = TOKENIZER.encode(text)
    (row,) = cut_rows([(text, None)], TOKENIZER, longest)
    assert row.ids == [1, *ids[: longest - 2], 2]
    assert row.turn == len(row.ids)
    assert row.was_cut is (len(ids) > longest - 2)


def test_what_is_cut_is_counted(bind, rows_of, network_of, generation):
    task = bind("classify", ONE, data={"max_source": 4})
    assert rows_of(task, ONE)[1]["cut"] == 1
    predictor = task.predictor(network_of(task, "bert", max_length=4), generation)
    predictor(["good bad good bad", "good"])
    assert predictor.shortened == 1


# ---- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_labels_by_probability(bind, network_of, generation, family):
    task = bind("classify", ONE, data={"max_source": 30})
    network = network_of(task, family, max_length=30)
    (found,) = task.predictor(network, generation).results(["good film"], 9)
    special, encode = task.vocabulary.text.special, task.vocabulary.text.encode
    ids = torch.tensor([[special.bos, *encode("good film"), special.eos]])
    share = dict(zip(task.vocabulary.labels, network(ids)[0].softmax(-1).tolist(), strict=True))
    assert [r.text for r in found] == sorted(share, key=share.get, reverse=True)
    for result in found:
        assert result.fields["probability"] == pytest.approx(share[result.text], abs=1e-5)


def test_two_texts_are_parted_by_a_tab(bind, network_of, generation):
    task = bind("classify", TWO)
    network = network_of(task, "bert", max_length=256)
    predictor = task.predictor(network, generation)
    apart, together = predictor.results(["a\tb", "a b"])
    assert apart[0].fields["probability"] != together[0].fields["probability"]
    assert as_input(TWO[0]) == "a b\tc"
    assert as_input(Pair("a\nb\t c", ("x",))) == "a b c"


def test_several_and_numbers(bind, network_of, generation):
    task = bind("classify", SEVERAL, targets="several", data={"max_source": 30})
    network = network_of(task, "bert", max_length=30)
    (result,) = task.predictor(network, generation).results(["a b"], 5)[0]
    assert result.fields["labels"] == [
        label for label, p in result.fields["probabilities"].items() if p > 0.5
    ]
    assert result.text == "\t".join(result.fields["labels"])
    assert set(result.fields["probabilities"]) == {"x", "y", "z"}
    task = bind("classify", NUMBERS, targets="number", data={"max_source": 30})
    network = network_of(task, "bert", max_length=30)
    (result,) = task.predictor(network, generation).results(["a b"], 5)[0]
    assert float(result.text) == pytest.approx(result.fields["value"], abs=1e-4)


def test_batched_is_single(bind, network_of, generation):
    task = bind("classify", ONE, data={"max_source": 30})
    predictor = task.predictor(network_of(task, "bert", max_length=30), generation)
    inputs = ["good", "", "so so film here good", "bad\tfilm", "film"]
    heard = []
    together = predictor.results(inputs, 3, heard.append)
    assert sum(heard) == len(inputs)
    for text, found in zip(inputs, together, strict=True):
        alone = predictor.results([text], 3)[0]
        assert [r.text for r in alone] == [r.text for r in found]
        assert [r.fields["probability"] for r in alone] == pytest.approx(
            [r.fields["probability"] for r in found]
        )


def test_score_has_a_table_of_what_is_taken_for_what(bind, network_of, generation):
    task = bind("classify", ONE, metrics=["accuracy"])
    predictor = task.predictor(network_of(task, "bert", max_length=256), generation)
    outcome = task.score(predictor, ONE, lambda rows: None)
    right = sum(said == pair.targets[0] for said, pair in zip(outcome.outputs, ONE, strict=True))
    assert outcome.metrics["accuracy"].value == pytest.approx(right / 3)
    assert sum(outcome.confusion[p.targets[0]].get(p.targets[0], 0) for p in ONE) == right
    samples = task.samples(predictor, ONE)
    assert [sample.output for sample in samples] == outcome.outputs


def test_accuracy_chooses_only_where_there_is_one_label(bind):
    """Of several labels, and of numbers, the loss has none."""
    assert "accuracy" in bind("classify", ONE).numbers
    assert "accuracy" not in bind("classify", SEVERAL, targets="several").numbers
    assert "accuracy" not in bind("classify", NUMBERS, targets="number").numbers
