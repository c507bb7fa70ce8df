"""The picture of a run: drawn from whatever has been recorded so far, and replaced in one piece."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from sublayer.training.curves import Records, draw_curves


def train(step, **keys):
    return {
        "step": step,
        "minutes": step / 100,
        "split": "train",
        "loss": 3 / step,
        "lr": 1e-3,
    } | keys


def valid(step, **keys):
    return {
        "step": step,
        "minutes": step / 100,
        "split": "valid",
        "loss": 4 / step,
        "perplexity": 7.4,
    } | keys


def written(folder, *records):
    file = folder / "metrics.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


RUN = [
    train(50),
    train(100),
    valid(100, metrics={"bleu": 11.0, "wer": 0.5}),
    train(150),
    valid(150, metrics={"bleu": 21.0}),
]


@pytest.fixture
def figure(monkeypatch):
    """The figure that was saved, with its panels to look at."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))
    )
    return saved


def test_a_panel_each_for_losses_metrics_and_rate(tmp_path, figure):
    draw_curves(written(tmp_path, *RUN), tmp_path / "curves.png")
    loss, bleu, wer, rate, minutes = figure[0].axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [
        [[50, 3 / 50], [100, 3 / 100], [150, 3 / 150]],
        [[100, 4 / 100], [150, 4 / 150]],
    ]
    assert bleu.get_ylabel() == "bleu"
    assert bleu.lines[0].get_xydata().tolist() == [[100, 11], [150, 21]]
    assert wer.lines[0].get_xydata().tolist() == [[100, 0.5]]
    assert (rate.get_xlabel(), rate.get_ylabel()) == ("step", "learning rate")
    assert minutes.get_xlabel() == "minutes"


def test_round_minutes_stand_at_the_steps_they_were_reached_at(tmp_path, figure):
    file = written(tmp_path, train(100, minutes=1.0), train(200, minutes=5.0))
    draw_curves(file, tmp_path / "curves.png")
    minutes = figure[0].axes[-1]
    places = {
        label.get_text(): tick
        for label, tick in zip(minutes.get_xticklabels(), minutes.get_xticks(), strict=True)
    }
    assert places["0"] == 0
    assert places["1"] == 100
    assert places["3"] == 150
    assert places["5"] == 200
    assert minutes.get_xlim() == figure[0].axes[0].get_xlim() == (0, 200)


@pytest.mark.parametrize(
    "records",
    [
        [train(1, minutes=0.0)],
        [train(50), train(100, loss=float("nan"))],
        [valid(10)],
        [train(50), valid(50), train(60, minutes=0.1)],
    ],
    ids=["first step", "loss not a number", "validation only", "a clock that went back"],
)
def test_draws_what_there_is(tmp_path, records):
    out = tmp_path / "curves.png"
    draw_curves(written(tmp_path, *records), out)
    assert np.ptp(imread(out)) > 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_an_interrupted_drawing_leaves_the_old_picture(tmp_path, monkeypatch):
    out = tmp_path / "curves.png"
    out.write_bytes(b"the old one")

    def stop(self, file, **keys):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", stop)
    with pytest.raises(OSError, match="No space left"):
        draw_curves(written(tmp_path, *RUN), out)
    assert out.read_bytes() == b"the old one"


def test_the_clock_never_falls(tmp_path):
    records = Records.read(
        written(tmp_path, train(10, minutes=2.0), train(20, minutes=1.0), valid(20, minutes=3.0))
    )
    steps, minutes = records.clock
    assert steps.tolist() == [0, 10, 20, 20]
    assert minutes.tolist() == [0, 2, 2, 3]


def test_without_records_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.jsonl has no records yet"):
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
