"""Hidden tokens: how many, which, and what stands for them; two passages; masks filled in."""

from __future__ import annotations

import math
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

from sublayer.data.example import Document
from sublayer.objectives.labels import UNTOLD
from sublayer.tasks.masked import Masked
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.special import Framing
from sublayer.text.tokenizer import Tokenizer, Tokenizers

CHI_SQUARED = 13.8  # of two degrees of freedom: exceeded once in a thousand times
WORDS = [f"w{i}" for i in range(60)]


def passages_of(n: int) -> list[Document]:
    """Documents of three sentences, no two alike."""
    random = np.random.default_rng(0)
    return [
        Document(
            " ".join(f"{' '.join(random.choice(WORDS, 6))} {i} {j} ." for j in range(3)), f"{i}"
        )
        for i in range(n)
    ]


@pytest.fixture
def task(bind):
    return bind("masked", passages_of(60), length=40)


def whole(batch) -> torch.Tensor:
    """The ids before any was hidden."""
    return torch.where(batch.labels == UNTOLD, batch.inputs, batch.labels)


# ---- what is hidden ------------------------------------------------------------------------------


def test_eighty_ten_ten(task, rows_of):
    rows, _ = rows_of(task, passages_of(60))
    special, size = task.vocabulary.text.special, task.ids
    seen: Counter[str] = Counter()
    asked = open_to = 0
    for epoch in range(30):
        batch = task.collate(rows, np.random.default_rng([1, epoch]))
        told = batch.labels != UNTOLD
        is_special = torch.isin(whole(batch), torch.tensor([special.pad, special.bos, special.eos]))
        assert not (told & is_special).any()
        assert batch.tokens == told.sum()
        asked, open_to = asked + int(told.sum()), open_to + int((~is_special).sum())
        for shown, right in torch.stack((batch.inputs[told], batch.labels[told]), 1).tolist():
            seen["mask" if shown == special.mask else "same" if shown == right else "other"] += 1
    assert asked / open_to == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / open_to))
    expected = {  # a token drawn at random is the mask, or the right one, once in a vocabulary
        "mask": asked * (0.8 + 0.1 / size),
        "same": asked * (0.1 + 0.1 / size),
        "other": asked * 0.1 * (size - 2) / size,
    }
    assert sum((seen[k] - e) ** 2 / e for k, e in expected.items()) < CHI_SQUARED


def test_other_tokens_each_epoch_but_the_same_for_the_same(task, rows_of):
    rows, _ = rows_of(task, passages_of(20))
    first, again, later = (
        task.collate(rows, np.random.default_rng([1, epoch, 0])) for epoch in (0, 0, 1)
    )
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, later.labels)
    assert torch.equal(whole(first), whole(later))


def test_at_least_one_token_is_hidden(bind, rows_of):
    task = bind("masked", [Document("a b", "x")], share=0.001)
    rows, _ = rows_of(task, [Document("a b", "x")])
    for seed in range(20):
        assert task.collate(rows, np.random.default_rng(seed)).tokens == 1


def test_padding_is_marked_and_never_asked_about(bind, rows_of):
    documents = [Document("a b c d e f", "x"), Document("a", "y")]
    task = bind("masked", documents, share=0.9)
    rows, _ = rows_of(task, documents)
    batch = task.collate(rows, np.random.default_rng(0))
    assert batch.valid.tolist() == [[True] * 8, [True] * 3 + [False] * 5]
    assert (batch.labels[~batch.valid] == UNTOLD).all()
    assert batch.segments is None
    assert batch.read == 11


# ---- passages ------------------------------------------------------------------------------------


def test_passages_are_whole_sentences_of_at_most_the_length(bind, rows_of):
    text = "One two. Three four five! Six? Seven eight nine ten eleven twelve thirteen.\n\nEnd"
    task = bind("masked", [Document(text, "x")], length=8)  # six beside begin and end
    rows, notes = rows_of(task, [Document(text, "x")])
    decode = task.vocabulary.text.decode
    assert [decode(ids.tolist()) for ids, _ in rows] == [
        "One two. Three four five! Six?",
        "Seven eight nine ten eleven twelve",
        "thirteen. End",
    ]
    assert [begins.tolist() for _, begins in rows] == [[2, 5], [], [1]]
    assert notes["skipped_empty"] == 0


def test_guessing_by_frequency(bind, rows_of):
    task = bind("masked", [Document("a a a b", "x")])
    _, notes = rows_of(task, [Document("a a a b", "x")])
    assert notes["unigram_accuracy"] == 0.75
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert notes["unigram_nll"] == pytest.approx(entropy)


@pytest.mark.parametrize("pairs", ["next", "order"])
def test_two_passages(bind, rows_of, pairs):
    documents = passages_of(40)
    task = bind("masked", documents, pairs=pairs, length=40)
    rows, _ = rows_of(task, documents)
    special = task.vocabulary.text.special
    known = {tuple(ids.tolist()): set(begins.tolist()) for ids, begins in rows}
    labels = []
    for seed in range(10):
        batch = task.collate(rows, np.random.default_rng(seed))
        for row, (ids, _) in enumerate(rows):
            own = ids.tolist()
            n = len(batch.inputs[row]) if batch.valid is None else int(batch.valid[row].sum())
            text, segments = whole(batch)[row, :n].tolist(), batch.segments[row, :n].tolist()
            first_end = text.index(special.eos)
            assert segments == [0] * (first_end + 1) + [1] * (n - first_end - 1)
            a, b = text[1:first_end], text[first_end + 1 : -1]
            assert text == [special.bos, *a, special.eos, *b, special.eos]
            label = int(batch.pair[row])
            labels.append(label)
            if label == 0:
                assert own[: len(a) + len(b)] == a + b
                assert len(a) in known[tuple(own)]
            elif pairs == "order":
                assert b + a == own
            else:
                assert own[: len(a)] == a
                assert own[len(a) : len(a) + len(b)] != b
                assert any(b == other[-len(b) :] for other in map(list, known))
    assert sum(labels) / len(labels) == pytest.approx(0.5, abs=0.1)


def test_one_passage_of_one_sentence_is_left_out_of_pairs(bind, rows_of):
    documents = [Document("one only", "x"), Document("two. of them.", "y")]
    task = bind("masked", documents, pairs="next")
    rows, notes = rows_of(task, documents)
    assert (len(rows), notes["skipped_empty"]) == (1, 1)
    batch = task.collate(rows, np.random.default_rng(0))
    assert batch.pair.tolist() == [0]  # alone in its batch, there is no other's to take


def test_other_frames_keep_the_length_and_their_segments(bind, rows_of):
    """RoBERTa's two texts stand between four special ids, all of one segment."""
    task = bind("masked", passages_of(20), pairs="next", length=24)
    learned = task.vocabulary.text
    framing = Framing(((1,), (2,)), ((1,), (2, 2), (2,)), second=0)
    foreign = Tokenizer(learned.codec, learned.special, framing)
    task = Masked(task.recipe, Vocabulary(Tokenizers(foreign, foreign)))
    rows, _ = rows_of(task, passages_of(20))
    batch = task.collate(rows, np.random.default_rng(0))
    assert batch.inputs.shape[1] <= 24
    assert not batch.segments.any()
    n = batch.inputs.shape[1] if batch.valid is None else int(batch.valid[0].sum())
    assert whole(batch)[0, :n].tolist().count(2) == 3


# ---- numbers -------------------------------------------------------------------------------------


def test_score_is_repeatable_and_names_the_floor(task, network_of, generation):
    predictor = task.predictor(network_of(task, "bert", max_length=64), generation)
    first, again = (task.score(predictor, passages_of(9), lambda rows: None) for _ in range(2))
    assert first.metrics == again.metrics
    names = {"nll", "perplexity", "accuracy", "unigram_nll", "unigram_accuracy"}
    assert first.metrics.keys() == names
    nll = first.metrics["nll"].value
    assert first.metrics["perplexity"].value == pytest.approx(math.exp(nll))


def test_nothing_to_score(bind, network_of, generation):
    task = bind("masked", passages_of(3), pairs="next", length=40)
    predictor = task.predictor(network_of(task, "bert", max_length=64), generation)
    with pytest.raises(ValueError, match="is left: "):
        task.score(predictor, [Document("one sentence", "x")], lambda rows: None)


@pytest.mark.parametrize(("pairs", "known"), [("none", False), ("next", True)])
def test_pair_accuracy_chooses_only_where_there_are_pairs(bind, pairs, known):
    task = bind("masked", passages_of(3), pairs=pairs)
    assert ("pair_accuracy" in task.numbers) is known


# ---- use -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", ["words", "wordpiece", "bpe", "unigram", "characters"])
def test_a_mask_stands_where_it_stood_in_training(bind, network_of, generation, tokenizer):
    """The ids round a mask are those of the whole text."""
    text = "the cat sat on the mat . the dog sat on the cat"
    task = bind("masked", [Document(text, "x")] * 4, tokenizer=tokenizer)
    predictor = task.predictor(network_of(task, "bert", max_length=128), generation)
    ids, mask = task.vocabulary.text.encode(text), task.vocabulary.text.special.mask
    if tokenizer == "characters":
        place, given = 4, text[:4] + "<mask>" + text[5:]
    else:
        pieces = [task.vocabulary.text.encode(word) for word in text.split()]
        assert list(chain.from_iterable(pieces)) == ids
        place, given = sum(map(len, pieces[:5])), text.replace("mat", "<mask>")
        ids = [*ids[: place + 1], *ids[place + len(pieces[5]) :]]
    assert predictor._with_masks(given) == [*ids[:place], mask, *ids[place + 1 :]]


def test_masks_filled_in_by_rank(task, network_of, generation):
    network = network_of(task, "bert", max_length=64)
    predictor = task.predictor(network, generation)
    best, second = predictor.results(["w1 <mask> w2 <mask>"], 2)[0]
    tokenizer, special = task.vocabulary.text, task.vocabulary.text.special
    a, b = (tokenizer.encode(word)[0] for word in ("w1", "w2"))
    row = torch.tensor([[special.bos, a, special.mask, b, special.mask, special.eos]])
    share = network(row)[0, [2, 4]].softmax(-1)
    for rank, result in enumerate((best, second)):
        p, fills = (t[:, rank] for t in share.topk(2))
        told = result.fields["fills"]
        assert [fill["token"] for fill in told] == tokenizer.pieces(fills.tolist())
        assert [fill["probability"] for fill in told] == pytest.approx(p.tolist())
        assert result.fields["probability"] == pytest.approx(p.prod().item())
        assert result.text == result.fields["text"]


def test_no_more_fills_than_words(task, network_of, generation):
    predictor = task.predictor(network_of(task, "bert", max_length=64), generation)
    assert len(predictor.results(["w1 <mask>"], 10_000)[0]) == task.ids


def test_a_text_without_a_mask_or_too_long(task, network_of, generation):
    predictor = task.predictor(network_of(task, "bert", max_length=40), generation)
    with pytest.raises(ValueError, match="'w1 w2' has no <mask>: put one where a word is to be"):
        predictor(["w1 w2"])
    with pytest.raises(ValueError, match="the model learned 40; shorten the text"):
        predictor(["<mask>" + " w1" * 50])


def test_samples_fit_the_model(bind, network_of, generation):
    documents = [Document("abcdefgh " * 30, "x"), Document("", "y")]
    task = bind("masked", documents, tokenizer="characters", length=24)
    predictor = task.predictor(network_of(task, "bert", max_length=24), generation)
    samples = task.samples(predictor, documents)
    assert samples[0].source == "abcdefgh <mask>"
    assert samples[1].source == "<mask>"
