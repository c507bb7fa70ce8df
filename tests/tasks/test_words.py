"""Vectors of words: rows, batches, answers and measures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from sublayer.config.schema import Evaluation, Recipe
from sublayer.data.example import Document
from sublayer.data.store import Store
from sublayer.layers.tree import huffman
from sublayer.metrics.classification import correlation, ranked
from sublayer.tasks.neighbours import Neighbours
from sublayer.training.convert import convert
from sublayer.training.evaluate import evaluate
from sublayer.training.start import train

TEXTS = ["the cat sat on the mat", "a  dog\nsat on the cat", "the the the"]
DOCUMENTS = [Document(text, str(i)) for i, text in enumerate(TEXTS)]


def rows_to_words(task, rows):
    tokens = task.vocabulary.text.tokens
    return [[tokens[id] for id in ids] for ids, _ in rows]


# ---- rows and batches ----------------------------------------------------------------------------


def test_counts_are_those_of_the_documents(bind):
    for kind in ("words", "glove"):
        task = bind(kind, DOCUMENTS)
        tokens, counts = task.vocabulary.text.tokens, task.vocabulary.counts
        expected = Counter(" ".join(TEXTS).split())
        assert dict(zip(tokens[4:], counts[4:], strict=True)) == expected
        assert counts[:4] == (0, 0, 0, 0)


def test_rows_are_known_words_with_an_end(bind, rows_of):
    task = bind("words", DOCUMENTS)
    rows, notes = rows_of(task, [*DOCUMENTS[:2], Document("no cat", "x"), Document("no", "y")])
    assert rows_to_words(task, rows) == [
        [*TEXTS[0].split(), "</s>"],
        [*TEXTS[1].split(), "</s>"],
        ["cat", "</s>"],
    ]
    assert notes == {"unknown": 2, "skipped_empty": 1}


def test_pieces_that_are_no_words(bind):
    for kind in ("words", "glove"):
        with pytest.raises(ValueError, match=r"set tokenizer\.shared\.kind = 'words', not 'bpe'"):
            bind(kind, DOCUMENTS, tokenizer="bpe")


def test_a_batch_has_the_pairs_of_its_rows(bind, rows_of):
    """Without subsampling; windows do not reach over the end of a row or a document."""
    task = bind("words", DOCUMENTS, window=2, sample=0.0)
    rows, _ = rows_of(task, DOCUMENTS)
    joined = [(np.concatenate([rows[0][0], rows[1][0]]), rows[0][1]), rows[2]]
    batch = task.collate(joined, np.random.default_rng(0))
    assert batch.read == 6 + 6 + 3
    assert batch.tokens == int(batch.near.sum())
    tokens = task.vocabulary.text.tokens
    found: Counter[tuple[str, str]] = Counter()
    for g, t, s in batch.near.nonzero().tolist():
        found[tokens[batch.centres[g, t]], tokens[batch.around[g, s]]] += 1
    near, possible = Counter(), Counter()
    for text in TEXTS:
        words = text.split()
        for i, j in ((i, j) for i in range(len(words)) for j in range(len(words)) if i != j):
            near[words[i], words[j]] += abs(i - j) == 1
            possible[words[i], words[j]] += abs(i - j) <= 2
    assert near <= found <= possible  # windows are of one or two words
    assert near < found < possible


def test_frequent_words_are_left_out_at_random(bind, rows_of):
    task = bind("words", DOCUMENTS, sample=0.05)
    rows, _ = rows_of(task, DOCUMENTS)
    share = 6 / 15
    keep = np.sqrt(0.05 / share) + 0.05 / share
    the = task.vocabulary.text.encode("the")[0]
    draw, kept = np.random.default_rng(0), 0
    for _ in range(400):
        batch = task.collate(rows, draw)
        kept += int((batch.centres == the).sum())
        assert batch.read == 15
    assert kept / (400 * 6) == pytest.approx(keep, abs=0.03)


def test_noise_is_drawn_by_count_and_special_ids_never_are(bind, rows_of):
    task = bind("words", DOCUMENTS)
    rows, _ = rows_of(task, DOCUMENTS)
    draw = np.random.default_rng(0)
    drawn = torch.cat([task.collate(rows, draw).noise.flatten() for _ in range(400)])
    weights = np.array(task.vocabulary.counts) ** 0.75
    shares = np.bincount(drawn.numpy(), minlength=len(weights)) / len(drawn)
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.02)
    assert (shares[:4] == 0).all()
    assert bind("words", DOCUMENTS, output="hierarchical").collate(rows, draw).noise.numel() == 0


def test_the_tree_is_that_of_the_counts(bind, network_of):
    task = bind("words", DOCUMENTS, output="hierarchical")
    network = network_of(task, "word2vec")
    task.begin(network)
    parent, side = huffman(task.vocabulary.counts)
    assert torch.equal(network.output.parent, parent)
    assert torch.equal(network.output.side, side)


def test_rows_of_counts(bind, rows_of, tmp_path):
    """Counts of a shorter text are told as those of one as long as training's."""
    task = bind("glove", DOCUMENTS, window=2)
    for examples, scale in ((DOCUMENTS, 1), (DOCUMENTS[:1], 15 / 6)):
        rows, _ = rows_of(task, examples)
        store = Store.write(tmp_path / str(scale), rows, task.ids)
        batch = task.collate(store.rows(np.arange(len(store))), np.random.default_rng(0))
        expected: Counter[tuple[str, str]] = Counter()
        for text in TEXTS[: len(examples)]:
            words = text.split()
            for i, j in ((i, j) for i in range(len(words)) for j in range(len(words))):
                if 0 < abs(i - j) <= 2:
                    expected[words[i], words[j]] += scale / abs(i - j)
        tokens = task.vocabulary.text.tokens
        found = {
            (tokens[i], tokens[j]): x
            for i, j, x in zip(batch.words, batch.around, batch.counts.tolist(), strict=True)
        }
        assert found == pytest.approx(expected, rel=1e-6)
        assert batch.tokens == batch.read == len(expected)


# ---- answers and measures ------------------------------------------------------------------------

KNOWN = ["king", "queen", "man", "woman", "boy", "girl", "red", "blue"]


@pytest.fixture
def predictor(bind, network_of) -> Neighbours:
    task = bind("words", [Document(" ".join(KNOWN), "x")])
    network = network_of(task, "word2vec", d_model=3)
    place = [task.vocabulary.text.encode(word)[0] for word in KNOWN]
    table = [
        [5, 0, 1],
        [5, 1, 1],
        [0, 0, 1],
        [0, 1, 1],
        [0.1, 0, 2.1],
        [0, 2, 2.1],
        [-1, 0, 0],
        [-3, 1, 0],
    ]
    network.input.table.weight.data[place] = torch.tensor(table) + 0.05 * torch.randn(8, 3)
    return Neighbours(network, task.vocabulary)


def cosine(predictor: Neighbours, a: str, b: str) -> float:
    rows = (predictor.network.table[predictor.vocabulary.text.encode(word)[0]] for word in (a, b))
    return float(torch.cosine_similarity(*rows, dim=0).detach())


def test_neighbours_by_brute_force(predictor):
    for word in KNOWN:
        (found,) = predictor.results([word], 3)
        others = sorted((w for w in KNOWN if w != word), key=lambda w: -cosine(predictor, word, w))
        assert [answer.text for answer in found] == others[:3]
        for answer in found:
            assert answer.fields["cosine"] == pytest.approx(
                cosine(predictor, word, answer.text), abs=1e-6
            )
    assert len(predictor.results(["king"], 99)[0]) == len(KNOWN) - 1


def test_analogies_leave_their_words_aside(predictor):
    unit = {word: predictor.vectors[predictor.place(word)] for word in KNOWN}
    sought = unit["king"] - unit["man"] + unit["woman"]
    cosines = {w: unit[w] @ sought / np.linalg.norm(sought) for w in KNOWN}
    left = [w for w in KNOWN if w not in {"man", "king", "woman"}]
    (found,) = predictor.results(["man king woman"], 2)
    assert [answer.text for answer in found] == sorted(left, key=lambda w: -cosines[w])[:2]
    assert found[0].fields["cosine"] == pytest.approx(cosines[found[0].text], abs=1e-6)


def test_unknown_words(predictor):
    one, three = predictor.results(["kaiser", "man kaiser prince"], 5)
    assert [answer.text for answer in one] == ["unknown: kaiser"]
    assert three[0].fields["unknown"] == ["kaiser", "prince"]


def test_an_input_of_another_number_of_words_says_so_and_the_others_are_answered(predictor):
    asked = ["king", "", "man woman", "kaiser a b c", "man king woman"]
    first, *wrong, last = predictor.results(asked, 2)
    assert [first, last] == predictor.results([asked[0], asked[-1]], 2)
    for found, n in zip(wrong, (0, 2, 4), strict=True):
        (answer,) = found
        told = f"{n} words: give one for its neighbours, or three for an analogy"
        assert answer.text == answer.fields["error"] == told
    assert [found[0].text for found in predictor.results(["", "a b"])] == [
        f"{n} words: give one for its neighbours, or three for an analogy" for n in (0, 2)
    ]


def test_files_of_judgements(predictor, tmp_path):
    pairs = [("king", "queen", 9), ("king", "red", 1), ("man", "boy", 8), ("red", "blue", 5)]
    lines = [f"{a}\t{b}\t{score}" for a, b, score in [*pairs, ("king", "kaiser", 5)]]
    (tmp_path / "alike.tsv").write_text("\n".join(lines) + "\n")
    rows = ["man king woman queen", "man boy woman girl", "man king woman red", "x y z man"]
    text = f": good\n{rows[0]}\n{rows[1]}\n: bad\n{rows[2]}\n{rows[3]}\n"
    (tmp_path / "questions.txt").write_text(text)
    scores = predictor.scores(
        Evaluation(
            similarity=str(tmp_path / "alike.tsv"), analogies=[str(tmp_path / "questions.txt")]
        )
    )
    cosines = np.array([cosine(predictor, a, b) for a, b, _ in pairs])
    told = correlation(ranked(cosines), ranked(np.array([float(score) for *_, score in pairs])))
    assert scores["similarity_alike"].value == pytest.approx(told)
    assert scores["similarity_alike"].signature == "spearman|cosine|ties:mean|known:4/5"
    expected = [
        predictor(["man king woman"])[0] == "queen",
        predictor(["man boy woman"])[0] == "girl",
    ]
    assert scores["analogies_questions/good"].value == sum(expected) / 2
    assert scores["analogies_questions/bad"].value == 0
    assert scores["analogies_questions/bad"].signature == "accuracy|3cosadd|known:1/2"
    assert scores["analogies_questions"].value == pytest.approx(sum(expected) / 3)
    assert expected == [True, True]


def test_files_of_unknown_words_alone(predictor, tmp_path):
    (tmp_path / "a").write_text("x y 1\n")
    (tmp_path / "b").write_text("x y z w\n")
    with pytest.raises(ValueError, match="a: the model knows both words of no line; give another"):
        predictor.scores(Evaluation(similarity=str(tmp_path / "a")))
    with pytest.raises(ValueError, match="b: the model knows all words of no line; give another"):
        predictor.scores(Evaluation(analogies=str(tmp_path / "b")))


# ---- runs ----------------------------------------------------------------------------------------


def recipe_of(folder: Path, objective: str = "words", **evaluation: str) -> Recipe:
    (folder / "texts.txt").write_text("".join(f"{text.split()[0]} {text}\n" for text in TEXTS) * 3)
    file = str(folder / "texts.txt")
    return Recipe.model_validate(
        {
            "data": {"kind": "text", "unit": "line", "train": file, "test": file},
            "tokenizer": {"shared": {"kind": "words", "vocab_size": 64}},
            "model": {
                "family": {"words": "word2vec", "glove": "glove", "causal": "gpt"}[objective]
            },
            "objective": {"kind": objective},
            "training": {"steps": 2, "optimizer": {"kind": "adagrad"}},
            "evaluation": evaluation,
        }
    )


@pytest.mark.parametrize("objective", ["words", "glove"])
def test_a_run_is_measured_by_the_recipes_files_and_written_as_text(tmp_path, objective):
    (tmp_path / "alike.csv").write_text("word1,word2,score\ncat,dog,8\ncat,on,2\nmat,the,1\n")
    run = tmp_path / "run"
    train(recipe_of(tmp_path, objective, similarity=str(tmp_path / "alike.csv")), run)
    metrics = evaluate(run).as_json()["metrics"]
    assert metrics.keys() == {"nll", "similarity_alike"}
    network, _ = convert(run, tmp_path / "words.vec", "vec")
    models = pytest.importorskip("gensim.models")
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "words.vec"))
    assert set(theirs.index_to_key) == set(" ".join(TEXTS).split())
    np.testing.assert_array_equal(theirs.vectors, network.table.detach().numpy()[4:])
    assert metrics["similarity_alike"]["value"] == pytest.approx(
        float(theirs.evaluate_word_pairs(str(tmp_path / "alike.csv"), delimiter=",")[1][0])
    )


def test_a_finished_run_is_measured_by_other_files(tmp_path):
    (tmp_path / "alike").write_text("cat dog 8\ncat on 2\nmat the 1\n")
    (tmp_path / "questions").write_text("cat sat dog on\n")
    run = tmp_path / "run"
    train(recipe_of(tmp_path), run)
    assert evaluate(run).outcome.metrics.keys() == {"nll"}
    given = {"similarity": str(tmp_path / "alike"), "analogies": [str(tmp_path / "questions")]}
    found = evaluate(run, changes={"evaluation": given, "beam": 1}).outcome
    assert found.metrics.keys() == {"nll", "similarity_alike", "analogies_questions"}
    assert found.metrics["nll"] == evaluate(run).outcome.metrics["nll"]
    for keys, message in (
        ({"similarty": "x"}, "evaluation: similarty: unknown key; did you mean 'similarity'"),
        ({"similarity": "nowhere"}, "there is no file nowhere"),
        (
            {"metrics": ["bleu"]},
            "evaluation.metrics: the objective 'words' has measures of its own",
        ),
        (5, "evaluation: should be a section with keys of its own"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(run, changes={"evaluation": keys})


def test_files_are_looked_into_before_training(tmp_path):
    with pytest.raises(ValueError, match="there is no file nowhere"):
        train(recipe_of(tmp_path, similarity="nowhere"), tmp_path / "run")
    (tmp_path / "bad").write_text("a b c\n")
    with pytest.raises(ValueError, match="bad:1 has 3 words, but an analogy has 4"):
        train(recipe_of(tmp_path, analogies=str(tmp_path / "bad")), tmp_path / "run")


def test_files_where_there_are_no_words(tmp_path):
    for key in ("similarity", "analogies"):
        with pytest.raises(ValueError, match=f"evaluation.{key}: the objective 'causal' gives no"):
            train(recipe_of(tmp_path, "causal", **{key: "x"}), tmp_path / "run")


def test_only_vectors_go_to_a_file_of_vectors(tmp_path):
    train(recipe_of(tmp_path, "causal"), tmp_path / "run")
    with pytest.raises(ValueError, match="run has no vectors of words, and only such models go"):
        convert(tmp_path / "run", tmp_path / "words.vec", "vec")
