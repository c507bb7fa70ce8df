"""`sublayer quantize`, on a tiny run."""

from __future__ import annotations

import json

import pytest

from sublayer.surgery import pack


@pytest.fixture
def target(tmp_path):
    return tmp_path / "small"


@pytest.mark.parametrize("weights", ["int8", "int8-weights", "int4", "bfloat16"])
def test_a_run_of_fewer_bits_is_a_run(run, target, weights, sublayer):
    given = ("--weights", weights, "--split", "valid", "--json")
    status, out, _ = sublayer("quantize", run, target, *given)
    before, after = json.loads(out)["runs"]
    assert status == 0
    assert (before["name"], after["name"]) == ("before", weights)
    assert before["metrics"].keys() == after["metrics"].keys()
    assert before["tokens/s"] > 0
    assert after["tokens/s"] > 0
    status, out, _ = sublayer("predict", target, stdin=b"abc\n")
    assert status == 0
    assert len(out.splitlines()) == 1


def test_it_tells_what_was_lost_and_gained(run, target, sublayer):
    status, out, _ = sublayer("quantize", run, target)
    assert status == 0
    assert "before" in out
    assert "int8" in out
    assert f"model in {target}" in out


def test_what_cannot_be_quantized_is_told(run, target, sublayer):
    sublayer("quantize", run, target, "--no-measure")
    for source, other, told in (
        (target, target.parent / "again", "is quantized; give the run"),
        (run, target, "is there already"),
        (target.parent / "nowhere", target.parent / "b", "is no folder"),
    ):
        status, _, err = sublayer("quantize", source, other)
        assert status == 2
        assert told in err
        assert "Traceback" not in err


def test_nothing_is_written_where_there_is_nothing_to_measure(run, target, sublayer):
    status, _, err = sublayer("quantize", run, target, "--data", "none.tsv")
    assert status == 2
    assert "there is no file none.tsv" in err
    assert not target.exists()


def test_a_model_is_made_fast_for_as_many_inputs_as_there_are(run, sublayer, monkeypatch, tmp_path):
    asked = []

    def note(network, inputs=1):
        asked.append(inputs)
        return False

    monkeypatch.setattr(pack, "WORTH", 1)
    monkeypatch.setattr(pack, "is_worth_loops", note)
    words = tmp_path / "words.txt"
    words.write_text("abc\nba\ncab\n")
    assert sublayer("predict", run, "--input", words, "--output", tmp_path / "out.txt")[0] == 0
    assert sublayer("predict", run, stdin=words.read_bytes())[0] == 0
    assert sublayer("evaluate", run)[0] == 0
    assert asked == [3, 1, 10]
