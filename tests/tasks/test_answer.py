"""Answers are stretches of their text: places there and back, overlapping passages, no answer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sublayer.config.schema import TokenizerSide
from sublayer.data.example import Question
from sublayer.tasks.answer import NOWHERE, _best, passages_of
from sublayer.text.tokenizer import Tokenizer

CONTEXT = "Anna lives in Rome. Bob, her brother, moved to Paris in 1999 and stayed there."
QUESTIONS = [
    Question("Where does Bob live?", CONTEXT, ((CONTEXT.index("Paris"), "Paris"),)),
    Question("Who lives in Rome?", CONTEXT, ((0, "Anna"), (20, "Bob"))),
    Question("Why?", CONTEXT, ()),
]
KINDS = ["characters", "words", "bpe", "wordpiece", "unigram"]
TOKENIZERS = {
    kind: Tokenizer.train(TokenizerSide(kind=kind, vocab_size=300), [CONTEXT, "Where? Who? Why?"])
    for kind in KINDS
}


# ---- passages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_places_give_back_the_answer(kind, data):
    """Whatever stretch of characters is the answer, its tokens hold it, and few more."""
    tokenizer = TOKENIZERS[kind]
    begin = data.draw(st.integers(0, len(CONTEXT) - 1))
    end = data.draw(st.integers(begin + 1, len(CONTEXT)))
    text = CONTEXT[begin:end]
    assume(text.strip() == text)
    (passage,) = passages_of("Who?", CONTEXT, tokenizer, 400)
    first, last = passage.places([(begin, text)])
    assert (first, last) != NOWHERE
    spans = passage.spans
    a, b = spans[first - passage.begin][0], spans[last - passage.begin][1]
    assert text in CONTEXT[a:b]
    ids = passage.ids[first : last + 1]
    assert ids == tokenizer.encode(CONTEXT)[first - passage.begin : last - passage.begin + 1]
    if kind == "characters":
        assert CONTEXT[a:b] == text


@pytest.mark.parametrize("kind", KINDS)
@given(
    context=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    length=st.integers(8, 40),
)
def test_passages_overlap_by_half_and_leave_nothing_out(kind, context, length):
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(context)
    found = list(passages_of("Who is it that lives there?", context, tokenizer, length))
    assert all(len(passage.ids) <= length for passage in found)
    assert all(passage.ids.count(2) == 2 for passage in found)
    stretches = [passage.ids[passage.begin : -1] for passage in found]
    room = max(map(len, stretches))
    joined = stretches[0]
    for before, part in pairwise(found):
        step = max(room // 2, 1)
        assert part.spans[: room - step] == before.spans[step:]
        joined = joined + part.ids[part.begin + room - step : -1]
    assert joined == ids
    assert [len(passage.spans) for passage in found] == list(map(len, stretches))


def test_offsets_are_those_of_the_ids():
    """Code that looks words up gives the ids of the whole text, whose offsets are used."""
    for tokenizer in TOKENIZERS.values():
        for text in ("", " ", "a  b", CONTEXT, "\u00fc\u4f60 \U0001f600!", " x\n\ny\t"):
            assert len(tokenizer.encode(text)) == len(tokenizer.offsets(text))


def test_an_answer_that_is_not_whole_in_a_passage_is_not_there():
    tokenizer = TOKENIZERS["words"]
    start = CONTEXT.index("Paris")
    found = list(passages_of("Who?", CONTEXT, tokenizer, 10))
    holds = [p.places([(start, "Paris in 1999")]) != NOWHERE for p in found]
    for passage, has_it in zip(found, holds, strict=True):
        part = CONTEXT[passage.spans[0][0] : passage.spans[-1][1]]
        assert has_it == ("Paris in 1999" in part)
    assert any(holds)
    assert not all(holds)


def test_no_answer_points_to_the_first_token(bind, rows_of):
    task = bind("answer", QUESTIONS)
    rows, _ = rows_of(task, QUESTIONS)
    batch = task.collate(rows, np.random.default_rng(0))
    assert batch.labels[2].tolist() == [0, 0]
    assert (batch.labels[:2] > 0).all()
    assert batch.labels.shape == (3, 2)
    ids = batch.inputs[0, batch.labels[0, 0] : batch.labels[0, 1] + 1]
    assert task.vocabulary.text.decode(ids.tolist()) == "Paris"
    assert [int(row.max()) for row in batch.segments] == [1, 1, 1]
    for ids, _ in rows:  # vocabularies made elsewhere read an end where a question has its sign
        ids[1] = task.vocabulary.text.special.eos
    again = task.collate(rows, np.random.default_rng(0))
    assert torch.equal(again.segments, batch.segments)


# ---- answers -------------------------------------------------------------------------------------


class Points(torch.nn.Module):
    """Says that the answer is the token of these ids; the first token is worth `nowhere`."""

    def __init__(self, wanted: list[int], nowhere: float = 0.0) -> None:
        super().__init__()
        self.wanted, self.nowhere = torch.tensor(wanted), nowhere

    def forward(self, ids, valid=None, segments=None):
        logits = torch.isin(ids, self.wanted).float() * 5
        logits[:, 0] = self.nowhere
        return logits.unsqueeze(-1).expand(-1, -1, 2)


@pytest.fixture(params=["words", "bpe", "characters"])
def task(request, bind):
    data = {"max_source": 64}
    return bind("answer", QUESTIONS, tokenizer=request.param, data=data, length=48, longest=8)


@pytest.fixture
def predictor(task, network_of, generation):
    return task.predictor(network_of(task, "bert", max_length=48), generation)


def pointing(predictor, word: str, nowhere: float = 0.0):
    """The predictor with a network that points to a word."""
    module = Points(predictor.vocabulary.text.encode(word), nowhere)
    predictor.network.forward = module.forward
    return predictor


def test_the_answer_and_where_it_stands(predictor):
    found = pointing(predictor, "Paris").find([("Where?", CONTEXT)], 3)[0]
    best = found[0]
    assert best.text == best.fields["text"]
    assert CONTEXT[best.fields["begin"] : best.fields["end"]] == best.text
    assert best.fields["score"] > 0
    if len(predictor.vocabulary.text.encode("Paris")) == 1:
        assert best.text == "Paris"


def test_answers_of_overlapping_passages_come_once(predictor):
    found = pointing(predictor, "Paris").find([("Where?", CONTEXT * 3)], 20)[0]
    places = [(r.fields["begin"], r.fields["end"]) for r in found]
    assert len(places) == len(set(places))
    scores = [r.fields["score"] for r in found]
    assert scores == sorted(scores, reverse=True)
    for result in found:
        assert (CONTEXT * 3)[result.fields["begin"] : result.fields["end"]] == result.text


def test_no_answer_is_one(predictor):
    found = pointing(predictor, "Paris", nowhere=50.0).find([("Where?", CONTEXT)])[0]
    assert found[0].fields == {"score": 0.0, "text": "", "begin": 0, "end": 0}
    assert predictor.find([("Where?", "")])[0][0].text == ""


def test_the_best_pair_of_places(task, network_of, generation):
    """By brute force over all first and last tokens."""
    network = network_of(task, "bert", max_length=48)
    predictor = task.predictor(network, generation)
    context = "Anna lives in Rome"
    (passage,) = passages_of("Who?", context, task.vocabulary.text, 48)
    segments = torch.tensor([[0] * passage.begin + [1] * (len(passage.ids) - passage.begin)])
    logits = network(torch.tensor([passage.ids]), None, segments)[0].detach()
    scores = {}
    for i, (a, _) in enumerate(passage.spans):
        for j, (_, b) in enumerate(passage.spans[i : i + 8], i):
            at = logits[passage.begin + i, 0] + logits[passage.begin + j, 1]
            scores[a, b] = float(at - logits[0].sum())
    (a, b), score = max(scores.items(), key=lambda item: item[1])
    best = next(r for r in predictor.find([("Who?", context)], 2)[0] if r.text)
    assert best.fields["score"] == pytest.approx(score, abs=1e-4)
    assert best.text == context[a:b].strip()


def test_best_keeps_the_larger_score():
    spans = [(1.0, 0, 3), (2.0, 4, 5), (3.0, 0, 3), (0.0, 0, 0), (0.0, 0, 0)]
    assert _best(spans, 9) == [(3.0, 0, 3), (2.0, 4, 5), (0.0, 0, 0)]
    assert _best(spans, 1) == [(3.0, 0, 3)]


def test_inputs_need_a_tab(predictor):
    with pytest.raises(ValueError, match="'Where' has no tab: write question, tab, text"):
        predictor(["Where"])
    assert len(predictor(["Where?\tIn Rome.", "Who?\t"])) == 2


def test_score(bind, network_of, generation):
    task = bind("answer", QUESTIONS, metrics=["answer_f1", "answer_exact"], length=48)
    predictor = task.predictor(network_of(task, "bert", max_length=48), generation)
    outcome = task.score(pointing(predictor, "Paris"), QUESTIONS, lambda rows: None)
    assert outcome.metrics["answer_exact"].value == pytest.approx(1 / 3, abs=1e-6)
    assert outcome.outputs == ["Paris"] * 3
    assert [s.output for s in task.samples(predictor, QUESTIONS)] == outcome.outputs
