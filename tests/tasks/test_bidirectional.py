"""Words in letters and as they are told; readings; measures; labels of words in letters."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import Recipe
from sublayer.data.example import Document, Tagged
from sublayer.data.pair import Pair
from sublayer.objectives.labels import UNTOLD
from sublayer.tasks.bidirectional import passages_of_words
from sublayer.training.prepare import make_task, model_config

TEXTS = ["The cat sat. A dog ran home!", "A café is near. " * 6, "", "<s> </s> cat"]


@pytest.fixture
def task(bind):
    return bind("bidirectional", [Document(text, "x") for text in TEXTS[:2]], length=8)


def spelled(tokenizer, words):
    """Ids of letters with what begins and ends each word, and the row."""
    begin, bos, eos = tokenizer.spelling.begins
    inner = [[begin, *tokenizer.encode(word)[1:]] for word in words]
    return [[*word, tokenizer.spelling.end] for word in ([bos], *inner, [eos])]


def test_rows_hold_all_letters_and_the_words_that_can_be_told(task, rows_of):
    letters, told = task.vocabulary.tokenizers.source, task.vocabulary.tokenizers.target
    rows, notes = rows_of(task, [Document("The cat zzz sat.", "x"), Document(" ", "y")])
    ((ids, words),) = rows
    assert letters.decode(ids.tolist()) == "The cat zzz sat."
    known = {token: id for id, token in enumerate(told.tokens)}
    assert words.tolist() == [1, known["The"], known["cat"], 3, known["sat."], 2]
    assert notes == {"unknown": 1, "skipped_empty": 1}
    batch = task.collate(rows, np.random.default_rng(0))
    expected = spelled(letters, ["The", "cat", "zzz", "sat."])
    assert [[id for id in word if id] for word in batch.inputs[0].tolist()] == expected
    assert batch.labels.tolist() == [words.tolist()]
    assert (batch.tokens, batch.read) == (5, 6)


def test_words_that_are_written_like_signs_are_words(task, rows_of):
    ((ids, words),), _ = rows_of(task, [Document("<s> </s> cat", "x")])
    assert len(words) == 5
    assert words[1:3].tolist() == [3, 3]
    assert len(task.collate([(ids, words)], np.random.default_rng(0)).inputs[0]) == 5


@given(
    text=st.lists(st.sampled_from(["a", "bc", "d.", "e!", "f\n\n", "g?"])).map(" ".join),
    length=st.integers(1, 5),
)
def test_passages_leave_nothing_out(text, length):
    found = list(passages_of_words(text, length))
    assert list(chain(*found)) == text.split()
    assert all(1 <= len(words) <= length for words in found)


def test_readings_are_what_the_network_says(task, network_of, generation):
    network = network_of(task, "elmo")
    predictor = task.predictor(network, generation)
    ((result,),) = predictor.results(["The dog zzz"])
    rows = list(task.encode([Document("The dog zzz", "x")], {}))
    batch = task.collate(rows, np.random.default_rng(0))
    with torch.no_grad():
        logp = network(batch.inputs)[0].log_softmax(-1)
        layers = network.layers(network.hidden(batch.inputs))[0, 1:-1]
    ids = batch.labels[0].tolist()
    forward = [logp[k - 1, 0, ids[k]].item() for k in (1, 2, 3)]
    backward = [logp[k + 1, 1, ids[k]].item() for k in (1, 2, 3)]
    assert result.fields["words"] == ["The", "dog", "zzz"]
    assert result.fields["forward"] == pytest.approx(forward, abs=1e-5)
    assert result.fields["backward"] == pytest.approx(backward, abs=1e-5)
    assert result.fields["logprob"] == pytest.approx(sum(forward + backward) / 2, abs=1e-4)
    vectors = torch.tensor(result.fields["vectors"])
    torch.testing.assert_close(vectors, layers.mean(1), rtol=1e-5, atol=1e-5)
    lines = result.text.split("\n")
    assert [line.split(" ")[0] for line in lines] == ["The", "dog", "zzz"]
    assert [float(x) for x in lines[1].split(" ")[1:]] == pytest.approx(vectors[1].tolist(), 1e-4)
    (called,) = predictor(["The dog zzz"])
    np.testing.assert_allclose(called, vectors.numpy(), rtol=1e-5, atol=1e-6)


def test_long_texts_are_read_in_parts(task, network_of, generation):
    predictor = task.predictor(network_of(task, "elmo"), generation)
    words = [f"w{i}" for i in range(19)]
    whole, *parts = predictor.read([words, words[:8], words[8:16], words[16:], []])
    np.testing.assert_allclose(
        whole.vectors, np.concatenate([p.vectors for p in parts]), rtol=1e-4, atol=1e-6
    )
    assert whole.forward == pytest.approx(list(chain(*(p.forward for p in parts))), abs=1e-5)
    assert parts[-1].vectors.shape == (0, 32)


def test_unknown_words_have_vectors_of_their_own(task, network_of, generation):
    predictor = task.predictor(network_of(task, "elmo"), generation)
    a, b, c = predictor(["qqq", "xyz", "qqq"])
    assert np.abs(a - b).max() > 1e-3
    np.testing.assert_allclose(a, c, rtol=1e-5)


def test_measures_are_those_of_the_words(task, network_of, generation):
    network = network_of(task, "elmo")
    predictor = task.predictor(network, generation)
    documents = [Document("The dog ran zzz", "x"), Document("A cat", "y")]
    metrics = task.score(predictor, documents, lambda n: None).metrics
    told = {"forward": [], "backward": []}
    for document in documents:
        batch = task.collate(list(task.encode([document], {})), np.random.default_rng(0))
        with torch.no_grad():
            logp = network(batch.inputs)[0].log_softmax(-1)
        ids = batch.labels[0].tolist()
        told["forward"] += [logp[k - 1, 0, ids[k]].item() for k in range(1, len(ids))]
        told["backward"] += [logp[k + 1, 1, ids[k]].item() for k in range(len(ids) - 1)]
    either = {side: math.exp(-np.mean(logs)) for side, logs in told.items()}
    for side, perplexity in either.items():
        assert metrics[f"{side}_perplexity"].value == pytest.approx(perplexity, rel=1e-4)
    assert metrics["perplexity"].value == pytest.approx(sum(either.values()) / 2, rel=1e-4)
    assert metrics["unknown"].value == pytest.approx(1 / 6)


def test_labels_stand_at_words(make_recipe, rows_of):
    examples = [Tagged(("the", "cat", "sat down"), ("A", "B", "A")), Tagged(("cat",), ("B",))]
    task = make_task(make_recipe("tag", tokenizer="letters", data={"max_source": 60}), examples)
    rows, _ = rows_of(task, examples)
    batch = task.collate(rows, np.random.default_rng(0))
    assert batch.inputs.ndim == 3
    assert batch.labels.tolist() == [[UNTOLD, 0, 1, 0, UNTOLD], [UNTOLD, 1, *[UNTOLD] * 3]]
    assert batch.segments is None
    cut = make_task(make_recipe("tag", tokenizer="letters", data={"max_source": 10}), examples)
    rows, _ = rows_of(cut, examples)
    assert [labels.tolist() for _, labels in rows] == [[0, 1, 2], [0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("kind", "tokenizer", "family", "told"),
    [
        ("tag", "words", "elmo", "elmo reads words by their letters; set the kind"),
        ("tag", "letters", "bert", "bert reads no letters of words; use another kind"),
        ("classify", "letters", "textcnn", "textcnn reads no letters of words"),
    ],
)
def test_what_a_family_does_not_read_is_refused(make_recipe, kind, tokenizer, family, told):
    examples = {
        "tag": [Tagged(("a", "b"), ("X", "Y"))],
        "classify": [Pair("a", ("x",)), Pair("b", ("y",))],
    }[kind]
    recipe = make_recipe(kind, tokenizer=tokenizer, model={"family": family})
    with pytest.raises(ValueError, match=told):
        model_config(recipe, make_task(recipe, examples))


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"shared": {"kind": "letters"}},
        {"source": {"kind": "words"}, "target": {"kind": "words"}},
        {"source": {"kind": "letters"}, "target": {"kind": "letters"}},
    ],
)
def test_other_vocabularies_are_refused(make_recipe, tokenizer):
    keys = make_recipe("bidirectional").model_dump(mode="json", exclude_none=True, by_alias=True)
    recipe = Recipe.model_validate(keys | {"tokenizer": tokenizer})
    with pytest.raises(ValueError, match=r"reads letters and tells words: use \[tokenizer.source"):
        make_task(recipe, [Document("a b", "x")])


def test_another_network_is_refused(task, network_of, bind):
    with pytest.raises(ValueError, match="Classifier is no language model of both directions"):
        task.check(network_of(bind("tag", [Tagged(("a", "b"), ("X", "Y"))]), "bert"))
