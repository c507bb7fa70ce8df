"""What a task refuses: one sentence, with what to do."""

from __future__ import annotations

import numpy as np
import pytest

from sublayer.config.schema import Recipe
from sublayer.data.example import Document, Picture, Question, Tagged
from sublayer.data.pair import Pair
from sublayer.tasks import TASKS, Vocabulary
from sublayer.tasks.texts import Learned
from sublayer.text.tokenizer import Tokenizers
from sublayer.training.prepare import check_keys, make_task, model_config
from sublayer.training.start import train

EXAMPLES = {
    "Pair": Pair("a b c", ("x",)),
    "Document": Document("a b c. d e f.", "x"),
    "Tagged": Tagged(("a", "b"), ("X", "Y")),
    "Question": Question("who?", "a b", ((0, "a"),)),
    "Picture": Picture(np.zeros((1, 4, 4), np.uint8), "x"),
}
OWN = {
    "seq2seq": "Pair",
    "causal": "Document",
    "masked": "Document",
    "spans": "Document",
    "classify": "Pair",
    "embed": "Pair",
    "tag": "Tagged",
    "answer": "Question",
    "images": "Picture",
    "words": "Document",
    "glove": "Document",
    "bidirectional": "Document",
}
GOOD = {
    "Pair": [EXAMPLES["Pair"], Pair("d", ("y",))],
    "Picture": [EXAMPLES["Picture"], Picture(np.zeros((1, 4, 4), np.uint8), "y")],
}
FITTING = {
    "seq2seq": "transformer",
    "causal": "gpt",
    "spans": "t5",
    "images": "vit",
    "words": "word2vec",
    "glove": "glove",
    "bidirectional": "elmo",
}


def examples_of(kind: str) -> list:
    return GOOD.get(OWN[kind], [EXAMPLES[OWN[kind]]] * 2)


def test_no_objective_is_left_out():
    assert OWN.keys() == set(TASKS)


@pytest.mark.parametrize("kind", OWN)
def test_examples_of_another_shape(bind, make_recipe, kind):
    for shape, example in EXAMPLES.items():
        if shape != OWN[kind]:
            with pytest.raises(
                ValueError, match=rf"objective '{kind}' learns from .* gives .*; change one of"
            ):
                bind(kind, [example])
            task = bind(kind, examples_of(kind))
            with pytest.raises(ValueError, match=rf"objective '{kind}' learns from"):
                list(task.encode([example], {}))


@pytest.mark.parametrize("kind", [kind for kind in OWN if kind != "images"])
def test_no_tokenizer(bind, kind):
    with pytest.raises(ValueError, match=rf"'{kind}' needs a section \[tokenizer\]"):
        bind(kind, examples_of(kind), tokenizer=None)


@pytest.mark.parametrize(
    "kind", [kind for kind in OWN if kind not in {"seq2seq", "images", "bidirectional"}]
)
def test_two_vocabularies_where_one_is_wanted(make_recipe, kind):
    side = {"kind": "words", "vocab_size": 40}
    keys = make_recipe(kind).model_dump(mode="json", exclude_none=True, by_alias=True)
    recipe = Recipe.model_validate(keys | {"tokenizer": {"source": side, "target": side}})
    with pytest.raises(ValueError, match=rf"'{kind}' has one vocabulary; use \[tokenizer\.shared"):
        make_task(recipe, examples_of(kind))


def test_images_read_no_text(make_recipe):
    keys = make_recipe("images").model_dump(mode="json", exclude_none=True, by_alias=True)
    side = {"kind": "words", "vocab_size": 40}
    recipe = Recipe.model_validate(
        keys | {"tokenizer": {"shared": side}, "model": {"family": "vit"}}
    )
    with pytest.raises(ValueError, match=r"'images' reads no text; leave \[tokenizer\] out"):
        check_keys(recipe)


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("classify", "t5"),
        ("classify", "transformer"),
        ("tag", "vit"),
        ("answer", "marian"),
        ("masked", "gpt"),
        ("masked", "vit"),
        ("embed", "llama"),
        ("images", "bert"),
        ("images", "gpt"),
        ("causal", "vit"),
        ("seq2seq", "vit"),
    ],
)
def test_a_family_without_the_head(bind, network_of, kind, family):
    task = bind(kind, examples_of(kind))
    recipe = task.recipe.model_dump(mode="json", exclude_none=True, by_alias=True)
    with pytest.raises(
        ValueError, match=rf"model\.family: {family} has no head for the objective '{kind}'"
    ):
        model_config(Recipe.model_validate(recipe | {"model": {"family": family}}), task)


@pytest.mark.parametrize(
    ("kind", "family", "words"),
    [
        ("causal", "bert", "Encoder is no language model, so it cannot go on"),
        ("causal", "transformer", "EncoderDecoder is no language model"),
        ("spans", "gpt", "LanguageModel is no encoder-decoder"),
        ("seq2seq", "gpt", "LanguageModel is no encoder-decoder"),
        ("seq2seq", "bert", "Encoder is no encoder-decoder"),
    ],
)
def test_a_family_of_another_kind(bind, network_of, kind, family, words):
    with pytest.raises(ValueError, match=words):
        network_of(bind(kind, examples_of(kind)), family)


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        ("classify", {"data": {"max_source": 9}}, "the data may have 9; raise model.max_length or"),
        (
            "tag",
            {"data": {"max_source": 9}},
            "the data may have 9; raise model.max_length or lower",
        ),
        (
            "embed",
            {"data": {"max_source": 4, "max_target": 9}},
            "the data may have 9; raise model.max_length or lower data.max_source and",
        ),
        ("answer", {"length": 9}, "objective.length is 9; raise model.max_length or lower obj"),
        ("masked", {"length": 9}, "objective.length is 9; raise model.max_length or lower obj"),
    ],
)
def test_too_few_places(bind, network_of, kind, keys, words):
    task = bind(kind, examples_of(kind), **keys)
    with pytest.raises(ValueError, match=f"the model has places for 8 tokens, {words}"):
        network_of(task, "bert", max_length=8)
    network_of(task, "bert", max_length=9)


# ---- labels --------------------------------------------------------------------------------------


def test_one_label_only(bind):
    message = "the training data has 1 labels; a classifier needs two or more"
    for kind, example in (
        ("classify", Pair("a", ("x",))),
        ("tag", Tagged(("a", "b"), ("X", "X"))),
        ("images", EXAMPLES["Picture"]),
    ):
        with pytest.raises(ValueError, match=message):
            bind(kind, [example, example])


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        ("classify", Pair("a", ("z",))),
        ("tag", Tagged(("a",), ("z",))),
        ("images", Picture(np.zeros((1, 4, 4), np.uint8), "z")),
    ],
)
def test_an_unknown_label(bind, kind, example):
    task = bind(kind, examples_of(kind))
    with pytest.raises(ValueError, match=r"the training data has no label 'z'; it has (x, y|X, Y)"):
        list(task.encode([example], {}))


@pytest.mark.parametrize("target", ["five", "", "nan", "inf", "1,5"])
def test_a_label_that_is_no_number(bind, target):
    task = bind("classify", [Pair("a", ("1.5",))], targets="number")
    with pytest.raises(ValueError, match=f"'{target}' is no number; objective.targets = 'number'"):
        list(task.encode([Pair("a", (target,))], {}))


def test_several_labels_where_one_is_wanted(bind):
    pair = Pair("some text", ("x", "y"))
    task = bind("classify", [pair])
    with pytest.raises(
        ValueError,
        match=r"'some text' has 2 labels; set objective.targets = 'several', or give one",
    ):
        list(task.encode([pair], {}))


# ---- inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OWN)
def test_one_input_in_place_of_a_list(bind, network_of, generation, kind):
    task, family = bind(kind, examples_of(kind)), FITTING.get(kind, "bert")
    vit = {"image_size": 4, "patch_size": 2, "n_channels": 1}
    model = vit if family == "vit" else {"max_length": 512} if family == "bert" else {}
    predictor = task.predictor(network_of(task, family, **model), generation)
    with pytest.raises(ValueError, match="give a list of"):
        predictor("abc")


def test_what_follows_from_the_objective_is_not_the_recipes():
    keys = {
        "data": {"kind": "python", "view": "prose"},
        "tokenizer": {"shared": {"kind": "bpe", "vocab_size": 300}},
        "training": {"steps": 1},
        "objective": {"kind": "embed"},
        "model": {"family": "bert", "size": "tiny", "pooler": True},
    }
    embed = Recipe.model_validate(keys)
    vocabulary = Vocabulary(Tokenizers.train(embed.tokenizer, [Learned("a b c")]))
    with pytest.raises(ValueError, match=r"model\.pooler follows from the objective"):
        model_config(embed, TASKS["embed"](embed, vocabulary))


def test_metrics_where_a_task_has_its_own(tmp_path):
    (tmp_path / "a.txt").write_text("a b c\n" * 9)
    keys = {
        "data": {"kind": "text", "train": str(tmp_path / "a.txt")},
        "tokenizer": {"shared": {"kind": "characters"}},
        "training": {"steps": 1},
        "objective": {"kind": "causal", "length": 8},
        "model": {"family": "gpt", "size": "tiny"},
    }
    recipe = Recipe.model_validate(keys | {"evaluation": {"metrics": ["bleu"]}})
    with pytest.raises(ValueError, match="'causal' has measures of its own; leave it out"):
        train(recipe, tmp_path / "run")
    best = Recipe.model_validate(keys | {"training": {"steps": 1, "best": "bleu"}})
    with pytest.raises(ValueError, match=r"training\.best: unknown metric 'bleu'"):
        train(best, tmp_path / "run")
