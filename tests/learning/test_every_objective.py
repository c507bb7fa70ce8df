"""A tiny run of every objective really learns: trained, loaded, measured and used on new data."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sublayer.config.schema import Recipe
from sublayer.models.base import FAMILIES
from sublayer.tasks import TASKS, Predictor
from sublayer.training import start
from sublayer.training.evaluate import evaluate
from sublayer.training.run import load_predictor
from sublayer.training.start import train

Learned = tuple[Predictor, dict[str, float]]

LETTERS = "abcdefgh"
TINY = {"d_model": 32, "n_layers": 1, "n_heads": 4, "d_ff": 64, "dropout": 0.0}
PLACES = {"max_length": 32, "attention_dropout": 0.0}


@pytest.fixture
def learn(tmp_path, monkeypatch) -> Callable[..., Learned]:
    """Train on files `train`, `valid`, `test` of the folder: the model, and its test scores."""
    monkeypatch.setattr(start, "draw_curves", lambda *files: None)

    def run(
        data: dict[str, Any],
        model: dict[str, Any],
        objective: dict[str, Any],
        *,
        steps: int,
        metrics: tuple[str, ...] = (),
        batch: int = 1024,
        tokenizer: str | None = "words",
        ending: str = "",
    ) -> Learned:
        splits = {split: str(tmp_path / f"{split}{ending}") for split in ("train", "valid", "test")}
        keys: dict[str, Any] = {
            "data": data | {"max_source": 31, "max_target": 31} | splits,
            "objective": objective,
            "model": {
                key: n for key, n in TINY.items() if key in FAMILIES[model["family"]].model_fields
            }
            | model,
            "training": {
                "steps": steps,
                "batch_tokens": batch,
                "schedule": {"kind": "cosine", "lr": 5e-3, "warmup": 10},
                "evaluate": "50 %",
                "checkpoint": "100 %",
                "average": 1,
                "precision": "float32",
            },
            "generation": {"beam": 1, "max_length": 12},
            "evaluation": {"metrics": list(metrics)},
        }
        if tokenizer is not None:
            side = {"kind": tokenizer, "vocab_size": 300}
            two = {"source": {"kind": "letters"}, "target": side}
            keys["tokenizer"] = two if objective["kind"] == "bidirectional" else {"shared": side}
        train(Recipe.model_validate(keys), tmp_path / "run")
        scores = evaluate(tmp_path / "run").outcome.metrics
        values = {name: score.value for name, score in scores.items()}
        return load_predictor(tmp_path / "run"), values

    return run


def write(folder: Path, lines: Callable[[random.Random], str], n: int = 400) -> None:
    """Files of the three splits, of as many lines each as `n`, an eighth and an eighth."""
    for seed, (split, count) in enumerate((("train", n), ("valid", n // 8), ("test", n // 8))):
        rng = random.Random(seed)
        (folder / split).write_text("".join(f"{lines(rng)}\n" for _ in range(count)))


def alphabet(rng: random.Random, n: int = 12) -> str:
    """Letters that follow one another round and round, from any of them on."""
    begin = rng.randrange(len(LETTERS))
    return " ".join(LETTERS[(begin + i) % len(LETTERS)] for i in range(n))


DOCUMENTS = {"kind": "text", "unit": "line"}
COLUMNS = {"kind": "tsv", "source": 0, "target": 1}


def test_no_objective_is_left_out():
    own = {name.removeprefix("test_learns_") for name in globals() if "_learns_" in name}
    assert own | {"seq2seq"} == set(TASKS)  # which has a file of its own


def test_learns_causal(learn, tmp_path):
    """Where a text begins is news, six ways; the rest of the alphabet follows, and the end."""
    write(tmp_path, lambda rng: " ".join(LETTERS[rng.randrange(6) :]))
    predictor, scores = learn(
        DOCUMENTS, {"family": "gpt"} | PLACES, {"kind": "causal", "length": 16}, steps=160
    )
    tests = (tmp_path / "test").read_text().splitlines()
    tokens, size = sum(len(text.split()) + 1 for text in tests), sum(map(len, tests))
    assert scores["nll"] == pytest.approx(np.log(6) * len(tests) / tokens, abs=0.05)
    assert scores["bits_per_byte"] == pytest.approx(np.log2(6) * len(tests) / size, abs=0.05)
    assert predictor(["c d", "f"]) == ["c d e f g h", "f g h"]


def test_learns_masked(learn, tmp_path):
    write(tmp_path, alphabet)
    model = {"family": "bert", "position": "shaw"} | PLACES
    predictor, scores = learn(DOCUMENTS, model, {"kind": "masked", "length": 16}, steps=150)
    assert scores["unigram_accuracy"] < 0.2
    assert scores["accuracy"] > 0.8
    assert scores["nll"] < scores["unigram_nll"] / 2
    assert predictor(["a b <mask> d e f"]) == ["a b c d e f"]


def test_learns_bidirectional(learn, tmp_path):
    """The first of a text's words is news, eight ways, from either end; the others follow."""
    write(tmp_path, lambda rng: alphabet(rng, 6))
    model = {"family": "elmo", "d_model": 16, "d_cell": 32, "filters": [8, 8]}
    predictor, scores = learn(
        DOCUMENTS, model, {"kind": "bidirectional", "length": 8}, steps=250, batch=512
    )
    floor = np.log(len(LETTERS)) / 7  # one of seven that each direction tells
    assert scores["forward_nll"] == pytest.approx(floor, abs=0.06)
    assert scores["backward_nll"] == pytest.approx(floor, abs=0.06)
    ((right,), (wrong,)) = predictor.results(["c d e f g h", "c d e a g h"])
    assert min(right.fields["forward"][1:] + right.fields["backward"][:-1]) > np.log(0.8)
    assert right.fields["forward"][0] == pytest.approx(-np.log(len(LETTERS)), abs=0.5)
    assert max(wrong.fields["forward"][3], wrong.fields["backward"][3]) < np.log(0.2)


def test_learns_spans(learn, tmp_path):
    write(tmp_path, alphabet)
    objective = {"kind": "spans", "length": 16, "share": 0.2, "span": 1.0}
    model = {"family": "transformer", "position": "shaw", "norm": "pre"}
    predictor, scores = learn(DOCUMENTS, model, objective, steps=300, batch=512)
    assert scores["perplexity"] < 1.2
    (found,) = predictor.results(["a b <extra_id_0> d e f g h a b c <extra_id_1>"])[0]
    assert found.text == "a b c d e f g h a b c d"
    assert found.fields["fills"] == ["c", "d"]


def test_learns_classify(learn, tmp_path):
    """One word of a text says what it is of."""

    def line(rng: random.Random) -> str:
        words = rng.choices(LETTERS, k=rng.randint(3, 8))
        mood = rng.choice(["good", "bad"])
        words[rng.randrange(len(words))] = {"good": "joy", "bad": "woe"}[mood]
        return f"{' '.join(words)}\t{mood}"

    write(tmp_path, line)
    predictor, scores = learn(
        COLUMNS,
        {"family": "bert"} | PLACES,
        {"kind": "classify"},
        steps=60,
        metrics=("accuracy", "macro_f1"),
    )
    assert scores["accuracy"] > 0.95
    assert predictor(["a b joy c", "woe d d"]) == ["good", "bad"]


def test_learns_tag(learn, tmp_path):
    """The shape of a word says what it is, and what it is made of does not."""

    def word(rng: random.Random) -> str:
        letters = "".join(rng.choices(LETTERS, k=rng.randint(1, 5)))
        kind = rng.choice(["NAME", "NUMBER", "WORD"])
        number = str(rng.randrange(1000))
        return (
            f"{ {'NAME': letters.capitalize(), 'NUMBER': number, 'WORD': letters}[kind] }\t{kind}"
        )

    write(tmp_path, lambda rng: "".join(f"{word(rng)}\n" for _ in range(rng.randint(2, 6))), 300)
    predictor, scores = learn(
        {"kind": "conll"},
        {"family": "bert"} | PLACES,
        {"kind": "tag"},
        steps=80,
        metrics=("word_accuracy",),
        tokenizer="characters",
    )
    assert scores["word_accuracy"] > 0.95
    tags = predictor.results(["Bag 412 bag 7 Hedge"])[0][0].fields["tags"]
    assert tags == ["NAME", "NUMBER", "WORD", "NUMBER", "NAME"]


def test_learns_answer(learn, tmp_path):
    """What is asked for, a colour or a number, stands in the text once."""

    def line(rng: random.Random) -> str:
        words = rng.choices(LETTERS, k=rng.randint(2, 6))
        told = {"colour": rng.choice(["red", "blue"]), "number": rng.choice(["one", "two"])}
        for word in told.values():
            words.insert(rng.randint(0, len(words)), word)
        asked, context = rng.choice([*told]), f" {' '.join(words)} "
        answers = [{"text": told[asked], "answer_start": context.index(f" {told[asked]} ") + 1}]
        return json.dumps({"question": f"{asked} ?", "context": context, "answers": answers})

    write(tmp_path, line)
    for split in ("train", "valid", "test"):
        (tmp_path / split).rename(tmp_path / f"{split}.jsonl")
    predictor, scores = learn(
        {"kind": "squad"},
        {"family": "bert", "n_layers": 2} | PLACES,
        {"kind": "answer", "length": 16},
        steps=150,
        metrics=("answer_exact",),
        ending=".jsonl",
    )
    assert scores["answer_exact"] > 0.9
    assert predictor(["colour ?\ta red b two", "number ?\ta red b two"]) == ["red", "two"]


def test_learns_images(learn, tmp_path):
    """Bars that stand or lie, anywhere in the image."""
    for seed, (split, n) in enumerate((("train", 60), ("valid", 10), ("test", 20))):
        rng = np.random.default_rng(seed)
        for label in ("lies", "stands"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 60, (8, 8), np.uint8)
                place = rng.integers(8)
                pixels[(place, slice(None)) if label == "lies" else (slice(None), place)] = 220
                Image.fromarray(pixels).save(tmp_path / split / label / f"{i}.png")
    predictor, scores = learn(
        {"kind": "images", "size": 8, "channels": 1},
        {"family": "vit", "image_size": 8, "patch_size": 2, "n_channels": 1},
        {"kind": "images", "shift": 1},
        steps=80,
        batch=32,
        metrics=("accuracy",),
        tokenizer=None,
    )
    assert scores["accuracy"] > 0.9
    files = [str(tmp_path / "test" / label / "0.png") for label in ("lies", "stands")]
    assert predictor(files) == ["lies", "stands"]


def test_learns_embed(learn, tmp_path):
    """A text and the same with its words turned round and one left out belong together."""
    words = [a + b for a in "bdgk" for b in "aeiou"]

    def line(rng: random.Random) -> str:
        source = rng.sample(words, k=5)
        target = rng.sample(source, k=4)
        return f"{' '.join(source)}\t{' '.join(target)}"

    write(tmp_path, line)
    predictor, scores = learn(
        COLUMNS, {"family": "bert"} | PLACES, {"kind": "embed"}, steps=120, batch=512
    )
    assert scores["recall_at_1"] > 0.8
    assert scores["mrr"] > 0.85
    a, b, c = predictor.vectors(["ba de gi ko bu", "gi bu ba ko", "da ge ki bo du"])
    assert a @ b > 0.7 > a @ c


def topics(rng: random.Random) -> str:
    """Words of one of eight topics, each a letter with a number."""
    topic = rng.choice(LETTERS)
    return " ".join(f"{topic}{rng.randrange(4)}" for _ in range(8))


def assert_topics_are_near(predictor: Predictor) -> None:
    words = [f"{letter}{i}" for letter in LETTERS for i in range(4)]
    for word, found in zip(words, predictor.results(words, 3), strict=True):
        assert {answer.text[0] for answer in found} == {word[0]}


@pytest.mark.parametrize("method", ["skipgram", "cbow"])
@pytest.mark.parametrize("output", ["negative", "hierarchical"])
def test_learns_words(learn, tmp_path, method, output):
    write(tmp_path, topics)
    predictor, scores = learn(
        DOCUMENTS,
        {"family": "word2vec"},
        {"kind": "words", "method": method, "output": output, "window": 3, "sample": 0.0},
        steps=400 if output == "hierarchical" else 150,
    )
    assert_topics_are_near(predictor)
    if output == "hierarchical":  # four words are equally likely
        assert scores["nll"] == pytest.approx(np.log(4), abs=0.1)


def test_learns_glove(learn, tmp_path):
    write(tmp_path, topics)
    predictor, scores = learn(
        DOCUMENTS, {"family": "glove"}, {"kind": "glove", "window": 3}, steps=150
    )
    assert_topics_are_near(predictor)
    assert scores["nll"] < 0.2  # log counts of a short text scatter so much themselves
