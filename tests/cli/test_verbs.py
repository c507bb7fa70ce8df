"""Each verb on a small run: what it prints and writes, and what it says to wrong input."""

from __future__ import annotations

import errno
import json
import os

import pytest


def test_train_prints_its_report(sublayer, recipe, tmp_path):
    status, out, err = sublayer("train", recipe, "training.steps=1", "--out", tmp_path / "a")
    assert (status, err) == (0, "")
    assert "parameters" in out
    assert f"model in {tmp_path / 'a'}" in out
    status, out, _ = sublayer(
        "train", recipe, "training.steps=1", "--out", tmp_path / "b", "--json"
    )
    assert json.loads(out)["steps"] == 1


def test_evaluate(sublayer, run):
    status, out, err = sublayer("evaluate", run)
    assert (status, err) == (0, "")
    assert "exact_match by source length" in out
    _, out, _ = sublayer("evaluate", run, "--split", "valid", "--beam", "1", "--json")
    report = json.loads(out)
    assert (report["split"], report["setting"], report["rows"]) == ("valid", "beam 1", 10)
    assert 0 <= report["metrics"]["exact_match"]["value"] <= 1


def test_evaluate_by_other_metrics_than_the_recipes(sublayer, run):
    _, out, _ = sublayer("evaluate", run, 'evaluation.metrics=["chrf"]', "beam=1", "--json")
    metrics = json.loads(out)["metrics"]
    assert "chrf" in metrics
    assert "exact_match" not in metrics
    status, _, err = sublayer("evaluate", run, "evaluation.similarity=words")
    assert status == 2
    assert "the objective 'seq2seq' gives no vectors of words" in err


def test_evaluate_writes_outputs(sublayer, run, tmp_path):
    sublayer("evaluate", run, "--output", tmp_path / "out.txt")
    assert len((tmp_path / "out.txt").read_text().split("\n")) == 11


def test_predict_a_line_for_a_line(sublayer, run, tmp_path):
    status, piped, err = sublayer("predict", run, stdin="abc\n\nça\n".encode())
    assert (status, err) == (0, "")
    assert piped.count("\n") == 3
    (tmp_path / "in.txt").write_bytes(b"abc\r\n\r\n\xc3\xa7a")
    sublayer("predict", run, "--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == piped


def test_predict_nothing(sublayer, run):
    assert sublayer("predict", run, stdin=b"") == (0, "", "")


def test_predict_n_best_and_json(sublayer, run):
    _, text, _ = sublayer("predict", run, "--n-best", "2", stdin=b"abc\n")
    rows = [line.split("\t") for line in text.splitlines()]
    assert [row[0] for row in rows] == ["0", "0"]
    assert float(rows[0][1]) >= float(rows[1][1])
    _, line, _ = sublayer("predict", run, "--n-best", "2", "--json", stdin=b"abc\n")
    found = json.loads(line)
    assert found["input"] == "abc"
    assert [output["text"] for output in found["outputs"]] == [row[3] for row in rows]


def test_predict_cuts_what_is_too_long_and_says_so(sublayer, recipe, tmp_path):
    sublayer("train", recipe, "data.max_source=4", "training.steps=1", "--out", tmp_path / "run")
    _, out, err = sublayer("predict", tmp_path / "run", stdin=b"abcabcabc\nab\n")
    assert out.count("\n") == 2
    assert err == "sublayer: too long and cut: 1 inputs\n"


@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_inspect(sublayer, run, tmp_path, ending):
    status, out, _ = sublayer("inspect", run, "abc", "--out", tmp_path / f"a.{ending}")
    assert status == 0
    assert out.startswith("abc -> ")
    assert (tmp_path / f"a.{ending}").stat().st_size > 1000


def test_estimate(sublayer, recipe):
    status, out, err = sublayer("estimate", recipe)
    assert (status, err) == (0, "")
    assert "decoder cross-attention" in out
    assert " tokens on average\n30 target tokens an epoch\n" in out
    _, out, _ = sublayer("estimate", recipe, "--json")
    counted = json.loads(out)
    assert (counted["unit"], counted["read_per_epoch"]) == ("target token", 30)
    assert counted["parameters"] == sum(part["parameters"] for part in counted["parts"])
    assert counted["tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "nowhere"], "nowhere is no folder; give the folder that"),
        (["predict", "RUN", "--input", "nothing.txt"], "there is no file nothing.txt"),
        (["predict", "RUN", "--n-best", "9"], "n_best 9 must lie between 1 and the beam, 3"),
        (["predict", "RUN", "--device", "quantum"], "device 'quantum' is not to be had here"),
        (["inspect", "RUN", "abc", "--out", "a.gif"], "let the name end in .png, .svg or .html"),
        (["evaluate", "RUN", "--data", "nothing.tsv"], "there is no file nothing.tsv"),
        (["evaluate", "RUN", "--data", "a", "--data", ""], "--data: data.test"),
        (["train", "RECIPE", "--out", "RUN"], "holds a run already; add --resume"),
        (["train", "RECIPE", "trainin.steps=1", "--out", "NEW"], "did you mean 'training'?"),
        (["train", "RECIPE", "data.train=gone.tsv", "--out", "NEW"], "there is no file gone.tsv"),
        (["train", "no.toml", "--out", "NEW"], "no.toml: no such recipe"),
    ],
)
def test_wrong_input_is_answered_by_a_sentence(sublayer, run, recipe, tmp_path, arguments, words):
    names = {"RUN": run, "RECIPE": recipe, "NEW": tmp_path / "new"}
    status, out, err = sublayer(*(names.get(argument, argument) for argument in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("sublayer: ")
    assert words in err
    assert err.count("\n") == 1


def test_input_that_is_no_text(sublayer, run, tmp_path):
    (tmp_path / "in.bin").write_bytes(b"good\n\xff\xfe\n")
    status, _, err = sublayer(
        "predict", run, "--input", tmp_path / "in.bin", "--output", tmp_path / "out.txt"
    )
    assert status == 2
    assert "in.bin:2 is not UTF-8" in err
    assert not (tmp_path / "out.txt").exists()


def test_full_disk_leaves_no_half_file(sublayer, run, tmp_path, monkeypatch):
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = sublayer("predict", run, "--output", tmp_path / "out.txt", stdin=b"abc\n")
    assert status == 2
    assert "full" in err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c(sublayer, recipe, tmp_path, monkeypatch):
    from sublayer.training import trainer

    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_step", interrupt)
        status, _, err = sublayer("train", recipe, "--out", tmp_path / "run")
    assert status == 130
    assert "interrupted" in err
    assert sublayer("train", recipe, "--out", tmp_path / "run", "--resume")[0] == 0


def test_answers_go_into_a_file_of_the_kind_that_its_name_says(sublayer, run, tmp_path):
    for name in ("answers.jsonl", "answers.txt"):
        status, _, _ = sublayer("predict", run, "--output", tmp_path / name, stdin=b"ab\nba\n")
        assert status == 0
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    texts = [row["outputs"][0]["text"] for row in rows]
    assert texts == (tmp_path / "answers.txt").read_text().splitlines()


def test_packed_networks_serve_every_verb(sublayer, run, tmp_path, monkeypatch):
    monkeypatch.setattr("sublayer.surgery.pack.WORTH", 0)
    report = {}
    for fast in ("true", "false"):
        _, out, _ = sublayer("evaluate", run, f"fast={fast}", "--json")
        report[fast] = json.loads(out)["metrics"]
        status, out, _ = sublayer("predict", run, f"fast={fast}", stdin=b"abc\n")
        assert (status, out.count("\n")) == (0, 1)
    packed, plain = (report[fast]["perplexity"]["value"] for fast in ("true", "false"))
    assert packed == plain  # of the plain network in both
    assert sublayer("inspect", run, "abc", "--out", tmp_path / "a.svg")[0] == 0
    assert sublayer("quantize", run, tmp_path / "small")[0] == 0
    assert sublayer("inspect", tmp_path / "small", "abc", "--out", tmp_path / "b.svg")[0] == 0


def test_what_needs_floats_refuses_quantized_runs(sublayer, run, tmp_path):
    assert sublayer("quantize", run, tmp_path / "small", "--no-measure")[0] == 0
    status, _, err = sublayer("convert", tmp_path / "small", tmp_path / "b", "--to", "huggingface")
    assert status == 2
    assert f"{tmp_path / 'small'} is quantized; give the run that it was made of" in err
    assert not (tmp_path / "b").exists()
