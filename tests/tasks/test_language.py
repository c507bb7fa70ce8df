"""Text as a stream: windows, what is told of them, and bits for a byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sublayer.config.schema import Generation
from sublayer.data.example import Document
from sublayer.data.order import WindowOrder
from sublayer.data.store import Store

TEXTS = ["to be or not to be", "  ", "that is the question", "whether it is nobler in the mind"]
DOCUMENTS = [Document(text, f"{i}") for i, text in enumerate(TEXTS)]


@pytest.fixture
def task(bind):
    return bind("causal", DOCUMENTS, length=8)


@pytest.fixture
def store(task, tmp_path):
    notes = {}
    return Store.write(tmp_path / "store", task.encode(DOCUMENTS, notes), task.ids, notes)


def stream_of(n: int, folder) -> Store:
    return Store.write(folder / "stream", [(list(range(i, i + 1)), []) for i in range(n)])


# ---- rows and windows ----------------------------------------------------------------------------


def test_a_document_is_a_row_with_begin_and_end(task, rows_of):
    rows, notes = rows_of(task, DOCUMENTS)
    special = task.vocabulary.text.special
    full = [text for text in TEXTS if text.strip()]
    assert [ids.tolist() for ids, _ in rows] == [
        [special.bos, *task.vocabulary.text.encode(text), special.eos] for text in full
    ]
    assert notes == {"bytes": sum(map(len, full)), "skipped_empty": 1}


@given(n=st.integers(2, 200), length=st.integers(1, 40), batch_tokens=st.integers(1, 100))
def test_in_order_every_token_but_the_first_is_told_once(tmp_path_factory, n, length, batch_tokens):
    store = stream_of(n, tmp_path_factory.mktemp("order"))
    order = WindowOrder(store, length, batch_tokens, seed=1)
    told = []
    for batch in order.in_order():
        windows = [ids.tolist() for ids, _ in order.rows(batch)]
        assert len({len(window) for window in windows}) == 1
        assert len(batch) == 1 or len(batch) * (len(windows[0]) - 1) <= batch_tokens
        told += [token for window in windows for token in window[1:]]
        assert all(np.diff(window).tolist() == [1] * (len(window) - 1) for window in windows)
    assert told == list(range(1, n))


@given(n=st.integers(2, 200), length=st.integers(1, 40), epoch=st.integers(0, 5))
def test_windows_of_an_epoch_are_whole_and_apart(tmp_path_factory, n, length, epoch):
    store = stream_of(n, tmp_path_factory.mktemp("order"))
    order = WindowOrder(store, length, 64, seed=1)
    windows = [ids.tolist() for batch in order.epoch(epoch) for ids, _ in order.rows(batch)]
    assert len(windows) == len(order)
    assert all(window == list(range(window[0], window[0] + order.length + 1)) for window in windows)
    starts = sorted(window[0] for window in windows)
    assert np.diff(starts).tolist() == [order.length] * (len(windows) - 1)
    assert n - 1 - len(order) * order.length < 2 * order.length  # what is left out of one epoch


def test_every_epoch_is_cut_at_another_place(tmp_path):
    store = stream_of(1000, tmp_path)
    order = WindowOrder(store, 50, 500, seed=1)
    phases = [min(np.concatenate(list(order.epoch(e)))).item() for e in range(40)]
    assert len(set(phases)) > 20
    assert min(phases) >= 0
    assert max(phases) <= 50
    again = WindowOrder(store, 50, 500, seed=1)
    assert [b.tolist() for b in again.epoch(3)] == [b.tolist() for b in order.epoch(3)]
    other = WindowOrder(store, 50, 500, seed=2)
    assert [b.tolist() for b in other.epoch(3)] != [b.tolist() for b in order.epoch(3)]


def test_labels_are_inputs_one_on(task, store):
    for rows in task.in_order(store):
        batch = task.collate(rows, np.random.default_rng(0))
        assert torch.equal(batch.inputs[:, 1:], batch.labels[:, :-1])
        assert batch.tokens == batch.labels.numel() == batch.read


# ---- numbers -------------------------------------------------------------------------------------


def nll_of(network, ids: list[int]) -> float:
    """Of all tokens but the first, in one window."""
    row = torch.tensor([ids])
    with torch.no_grad():
        return F.cross_entropy(network(row[:, :-1])[0], row[0, 1:], reduction="sum").item()


def test_bits_per_byte_of_the_stream(task, store, network_of):
    """-log2 of all that is told, over the bytes of the documents."""
    network = network_of(task, "gpt")
    ids = store.stream(0, store.ids).tolist()
    length = task.settings.length
    nll = sum(
        nll_of(network, ids[begin : begin + length + 1]) for begin in range(0, len(ids) - 1, length)
    )
    found = task.fields({"nll": nll / (len(ids) - 1)}, store.meta)
    text = "".join(text for text in TEXTS if text.strip())
    assert found["bits_per_byte"] == pytest.approx(nll / math.log(2) / len(text.encode()))
    assert found["bits_per_token"] == pytest.approx(nll / math.log(2) / (len(ids) - 1))
    assert found["perplexity"] == pytest.approx(2 ** found["bits_per_token"])


def test_bytes_are_no_characters(bind, rows_of):
    task = bind("causal", [Document("äöü", "a")], tokenizer="characters")
    assert rows_of(task, [Document("äöü", "a")])[1]["bytes"] == 6


def test_score_reads_every_document_from_its_beginning(task, network_of):
    network = network_of(task, "gpt")
    predictor = task.predictor(network, Generation())
    heard = []
    outcome = task.score(predictor, DOCUMENTS, heard.append)
    special, length = task.vocabulary.text.special, task.settings.length
    nll, tokens, size = 0.0, 0, 0
    for text in TEXTS:
        if not text.strip():
            continue
        ids = [special.bos, *task.vocabulary.text.encode(text), special.eos]
        for begin in range(0, len(ids) - 1, length):
            nll += nll_of(network, ids[begin : begin + length + 1])
        tokens, size = tokens + len(ids) - 1, size + len(text)
    values = {name: score.value for name, score in outcome.metrics.items()}
    assert values["nll"] == pytest.approx(nll / tokens, rel=1e-5)
    assert values["perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert values["bits_per_token"] == pytest.approx(nll / math.log(2) / tokens, rel=1e-5)
    assert values["bits_per_byte"] == pytest.approx(nll / math.log(2) / size, rel=1e-5)
    assert sum(heard) == len(DOCUMENTS)


def test_nothing_to_score(task, network_of):
    predictor = task.predictor(network_of(task, "gpt"), Generation())
    with pytest.raises(ValueError, match="is left: "):
        task.score(predictor, [Document(" ", "a")], lambda rows: None)


# ---- use -----------------------------------------------------------------------------------------


def test_samples_fit_a_model_of_few_places(bind, network_of, generation):
    """A sample's beginning leaves room to go on, also where the text is all of one word."""
    long = [Document("a" * 500, "a"), Document("", "b"), Document("abc", "c")]
    task = bind("causal", long, tokenizer="characters", length=8)
    predictor = task.predictor(network_of(task, "gpt", max_length=8), generation)
    samples = task.samples(predictor, long)
    assert [len(sample.source) for sample in samples] == [3, 0, 3]
    assert all(sample.reference == "a" * len(sample.reference) for sample in samples[:1])


@pytest.mark.parametrize(
    "options",
    [
        Generation(beam=1, max_length=5),
        Generation(beam=3, max_length=5),
        Generation(temperature=1.0, seed=3, max_length=5),
        Generation(stop=["be"], max_length=5),
    ],
    ids=["greedy", "beam", "sample", "stop"],
)
def test_a_stream_says_what_a_call_says(task, network_of, options):
    predictor = task.predictor(network_of(task, "gpt"), options)
    assert "".join(predictor.stream("to be")) == predictor(["to be"])[0]


def test_a_model_with_too_few_places(task, network_of):
    with pytest.raises(ValueError, match=r"has places for 4 tokens, objective\.length is 8"):
        network_of(task, "gpt", max_length=4)
