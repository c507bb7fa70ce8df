"""`predict` and `evaluate` of models that say tags, labels, text, vectors: what is printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sublayer.config.schema import Recipe
from sublayer.training import answering, start
from sublayer.training.start import train

WORDS = ["the", "cat", "sat", "on", "a", "mat"]
SMALL = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16}
TEXT = " ".join(WORDS)


def write_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Data sections by objective."""
    folder.joinpath("tags.conll").write_text("the\tDET\ncat\tNOUN\nsat\tVERB\n\na\tDET\n" * 3)
    rows = [f"{word} {other}" for word in WORDS for other in WORDS]
    labelled = [f"{row}\t{'cat' if 'cat' in row else 'none'}\n" for row in rows]
    folder.joinpath("labels.tsv").write_text("".join(labelled))
    folder.joinpath("texts.txt").write_text(f"{TEXT}\n" * 8)
    for label, shade in (("dark", 20), ("light", 230)):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(4):
            image = Image.fromarray(np.full((9, 7), shade + i, np.uint8))
            image.save(folder / "images" / label / f"{i}.png")
    columns = {"kind": "tsv", "source": 0, "target": 1}
    return {
        "tag": {"kind": "conll", "train": "tags.conll"},
        "classify": columns | {"train": "labels.tsv"},
        "embed": columns | {"train": "labels.tsv"},
        "causal": {"kind": "text", "unit": "line", "train": "texts.txt"},
        "images": {"kind": "images", "size": 8, "channels": 1, "train": "images"},
    }


MODELS = {
    "causal": {"family": "gpt", **SMALL},
    "images": {
        "family": "vit",
        "image_size": 8,
        "patch_size": 4,
        "n_channels": 1,
        **SMALL,
    },
}
METRICS = {
    "tag": ["word_accuracy"],
    "classify": ["accuracy", "macro_f1"],
    "images": ["accuracy"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each objective, made when it is asked for; `runs.home` holds the data."""
    home = tmp_path_factory.mktemp("kinds")
    sections, made = write_files(home), {}

    def run(kind: str) -> Path:
        if kind in made:
            return made[kind]
        file = str(home / sections[kind]["train"])
        files = {"train": file, "valid": file, "test": file}
        keys: dict[str, Any] = {
            "data": sections[kind] | files | {"max_source": 16, "max_target": 16},
            "objective": {"kind": kind} | ({"length": 8} if kind == "causal" else {}),
            "model": MODELS.get(kind, {"family": "bert", "max_length": 16, **SMALL}),
            "training": {
                "steps": 40 if kind == "causal" else 3,
                "batch_tokens": 64,
                "precision": "float32",
                "schedule": {"kind": "constant", "lr": 1e-2, "warmup": 1},
                "samples": 1,
            },
            "generation": {"beam": 3, "max_length": 6},
            "evaluation": {"metrics": METRICS.get(kind, [])},
        }
        if kind != "images":
            keys["tokenizer"] = {"shared": {"kind": "words", "vocab_size": 32}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(start, "draw_curves", lambda *files: None)
            train(Recipe.model_validate(keys), home / "runs" / kind)
        made[kind] = home / "runs" / kind
        return made[kind]

    run.home = home
    return run


# ---- tags ----------------------------------------------------------------------------------------


def test_tags_are_columns_that_conll_data_can_be(sublayer, runs, tmp_path):
    stdin = b"the cat sat\n\na mat\n"
    status, out, err = sublayer("predict", runs("tag"), stdin=stdin)
    assert (status, err) == (0, "")
    sentences = out.split("\n\n")
    columns = [[line.split("\t") for line in s.split("\n")] for s in map(str.strip, sentences) if s]
    assert [[word for word, _ in s] for s in columns] == [["the", "cat", "sat"], ["a", "mat"]]
    assert {tag for s in columns for _, tag in s} <= {"DET", "NOUN", "VERB"}
    (tmp_path / "said.conll").write_text(out)
    said = json.loads(
        sublayer("evaluate", runs("tag"), "--data", tmp_path / "said.conll", "--json")[1]
    )
    assert said["metrics"]["word_accuracy"]["value"] == 1.0
    assert said["rows"] == 2


def test_tags_as_json(sublayer, runs):
    _, out, _ = sublayer("predict", runs("tag"), "--json", stdin=b"the cat\n\n")
    first, second = map(json.loads, out.splitlines())
    assert first["outputs"][0]["words"] == ["the", "cat"]
    assert len(first["outputs"][0]["tags"]) == len(first["outputs"][0]["probabilities"]) == 2
    assert second == {
        "line": 1,
        "input": "",
        "outputs": [{"words": [], "tags": [], "probabilities": []}],
    }
    status, _, err = sublayer("predict", runs("tag"), "--n-best", "2", stdin=b"the\n")
    assert (status, err) == (2, "sublayer: a tagger has one answer to an input, not 2\n")


# ---- labels --------------------------------------------------------------------------------------


def test_labels_a_line_for_a_line(sublayer, runs, tmp_path):
    stdin = b"the cat\n\non a mat\n"
    status, out, err = sublayer("predict", runs("classify"), stdin=stdin)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 3
    assert set(out.split()) <= {"cat", "none"}
    (tmp_path / "in.txt").write_bytes(stdin)
    files = ("--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt")
    assert sublayer("predict", runs("classify"), *files) == (0, "", "")
    assert (tmp_path / "out.txt").read_text() == out


def test_labels_with_their_probabilities(sublayer, runs):
    _, out, _ = sublayer("predict", runs("classify"), "--n-best", "5", stdin=b"the cat\na mat\n")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["0", "0", "1", "1"]  # there are two labels
    for best, second in (rows[:2], rows[2:]):
        assert {best[2], second[2]} == {"cat", "none"}
        assert float(best[1]) >= float(second[1])
        assert float(best[1]) + float(second[1]) == pytest.approx(1, abs=2e-4)
    _, out, _ = sublayer("predict", runs("classify"), "--n-best", "5", "--json", stdin=b"the cat\n")
    found = json.loads(out)["outputs"]
    assert [answer["label"] for answer in found] == [row[2] for row in rows[:2]]


def test_what_is_taken_for_what_is_a_table(sublayer, runs):
    status, out, err = sublayer("evaluate", runs("classify"))
    assert (status, err) == (0, "")
    assert "test: 36 rows" in out
    assert "accuracy" in out
    assert "macro_f1" in out
    heading, *table = out[out.index("rows by label") :].splitlines()
    assert heading == "rows by label"
    assert "label, and what was said" in "\n".join(table)
    printed = [line.split() for line in table if line.split()[:1] in (["cat"], ["none"])]
    _, out, _ = sublayer("evaluate", runs("classify"), "--json")
    report = json.loads(out)
    confusion = report["confusion"]
    assert {row[0]: [int(n) for n in row[1:]] for row in printed} == {
        label: [said.get(other, 0) for other in confusion] for label, said in confusion.items()
    }
    right = sum(confusion[label].get(label, 0) for label in confusion)
    assert report["metrics"]["accuracy"]["value"] == pytest.approx(right / 36)


def test_many_labels_give_the_most_frequent_mistakes(capsys):
    from rich.console import Console

    from sublayer.cli.confusion import print_confusion

    labels = [f"l{i}" for i in range(20)]
    confusion = {label: {label: 9, labels[i - 1]: i} for i, label in enumerate(labels)}
    print_confusion(Console(), confusion)
    out = capsys.readouterr().out
    assert "most frequent mistakes" in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("l1")]
    assert rows[0] == ["l19", "19", "l18"]
    print_confusion(Console(), {})
    assert capsys.readouterr().out == ""


# ---- text ----------------------------------------------------------------------------------------


def test_a_language_model_goes_on(sublayer, runs):
    status, out, err = sublayer("predict", runs("causal"), stdin=b"the cat\non\n")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("the cat sat")
    assert second.startswith("on a mat")
    _, text, _ = sublayer("predict", runs("causal"), "--n-best", "3", stdin=b"the\n")
    rows = [line.split("\t") for line in text.splitlines()]
    assert [row[0] for row in rows] == ["0"] * 3
    assert float(rows[0][1]) >= float(rows[1][1]) >= float(rows[2][1])


def test_keys_of_generation(sublayer, runs):
    run = runs("causal")
    drawn = [
        sublayer("predict", run, "temperature=2.0", f"seed={seed}", stdin=b"the cat\n" * 4)[1]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0].splitlines())) > 1  # each line draws numbers of its own
    whole = sublayer("predict", run, "beam=1", stdin=b"the\n")[1].split()
    assert whole[:4] == WORDS[:4]
    cut = sublayer("predict", run, "beam=1", 'stop=["on"]', stdin=b"the\n")[1].split()
    assert cut == WORDS[:3]
    short = sublayer("predict", run, "beam=1", "max_length=1", stdin=b"the\n")[1].split()
    assert short == whole[:2]
    status, _, err = sublayer("predict", run, "temprature=1", stdin=b"the\n")
    assert status == 2
    assert "did you mean 'temperature'?" in err


@pytest.mark.parametrize("changes", [[], ["beam=1"], ["temperature=1.0", "seed=3"]])
def test_a_terminal_is_told_the_same_as_a_file(sublayer, runs, monkeypatch, changes):
    """One text is written as it comes; a beam search knows it at its end."""
    _, piped, _ = sublayer("predict", runs("causal"), *changes, stdin=b"the cat\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    status, out, err = sublayer("predict", runs("causal"), *changes, stdin=b"the cat\n")
    assert (status, err) == (0, "")
    assert out == piped


@pytest.mark.parametrize("kind", ["tag", "classify", "embed"])
def test_a_terminal_is_told_what_models_say_at_once(sublayer, runs, monkeypatch, kind):
    _, piped, _ = sublayer("predict", runs(kind), stdin=b"the cat\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert sublayer("predict", runs(kind), stdin=b"the cat\n") == (0, piped, "")


def test_a_language_model_is_measured(sublayer, runs):
    _, out, _ = sublayer("evaluate", runs("causal"), "--json")
    report = json.loads(out)
    assert report["setting"] == "windows of 8 tokens"
    assert report["metrics"].keys() == {"bits_per_byte", "bits_per_token", "perplexity", "nll"}
    _, out, _ = sublayer("evaluate", runs("causal"), "--split", "valid")
    assert "valid: 8 rows, windows of 8 tokens" in out
    assert "bits_per_byte" in out


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("tag", []), ("classify", []), ("causal", []), ("causal", ["temperature=2.0", "seed=1"])],
)
def test_chunks_do_not_show(sublayer, runs, monkeypatch, kind, changes):
    stdin = b"the cat\non\nthe\ncat sat on\nthe cat\na\nmat\n"
    whole = sublayer("predict", runs(kind), *changes, stdin=stdin)
    monkeypatch.setattr(answering, "CHUNK", 2)
    assert sublayer("predict", runs(kind), *changes, stdin=stdin) == whole


# ---- vectors and images --------------------------------------------------------------------------


def test_vectors(sublayer, runs, tmp_path):
    stdin = b"the cat\na mat\nthe cat\n"
    file = tmp_path / "vectors.npy"
    assert sublayer("predict", runs("embed"), "--output", file, stdin=stdin) == (0, "", "")
    vectors = np.load(file)
    assert (vectors.shape, vectors.dtype) == ((3, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    _, out, _ = sublayer("predict", runs("embed"), "--json", stdin=stdin)
    lines = [json.loads(line) for line in out.splitlines()]
    np.testing.assert_allclose([row["outputs"][0]["vector"] for row in lines], vectors)
    _, out, _ = sublayer("predict", runs("embed"), stdin=stdin)
    told = [list(map(float, line.split())) for line in out.splitlines()]
    np.testing.assert_allclose(told, vectors, atol=1e-5)


def test_no_vectors(sublayer, runs, tmp_path):
    file = tmp_path / "vectors.npy"
    status, _, err = sublayer("predict", runs("classify"), "--output", file, stdin=b"the cat\n")
    assert status == 2
    assert "this model gives no vectors; write a text file" in err
    assert not file.exists()


def test_images_by_the_names_of_their_files(sublayer, runs):
    images = runs.home / "images"
    files = [images / "dark" / "0.png", images / "light" / "3.png"]
    stdin = "".join(f"{file}\n" for file in files).encode()
    runs("images")
    status, out, err = sublayer("predict", runs("images"), stdin=stdin)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 2
    assert set(out.split()) <= {"dark", "light"}
    status, _, err = sublayer("predict", runs("images"), stdin=b"nowhere.png\n")
    assert status == 2
    assert "there is no file nowhere.png" in err
    _, out, _ = sublayer("evaluate", runs("images"))
    assert "rows by label" in out
