"""Each schedule against its formula."""

from __future__ import annotations

import math

import pytest

from sublayer.config.schema import Schedule
from sublayer.training.schedules import make_schedule


def test_paper_formula():
    rate = make_schedule(Schedule(lr=2.0, warmup=100), 64)
    for step in (1, 50, 99, 100, 101, 5000):
        assert rate(step, 0.3) == pytest.approx(2.0 * 64**-0.5 * min(step**-0.5, step * 100**-1.5))
    assert max(range(1, 400), key=lambda s: rate(s, 0)) == 100


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_decays(progress):
    def at(**keys):
        return make_schedule(Schedule(lr=1.0, warmup=0, **keys), 64)(1000, progress)

    assert at(kind="cosine", final=0.1) == pytest.approx(
        0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
    )
    assert at(kind="linear", final=0.1) == pytest.approx(1 - 0.9 * progress)
    assert at(kind="constant") == 1.0
    assert at(kind="wsd", decay=0.2) == pytest.approx(
        1.0 if progress <= 0.8 else (1 - progress) / 0.2
    )


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd", "constant"])
def test_warmup_is_a_line(kind):
    rate = make_schedule(Schedule(kind=kind, lr=0.5, warmup=10), 64)
    assert [rate(step, 0.0) for step in range(1, 12)] == pytest.approx(
        [0.05 * step for step in range(1, 11)] + [0.5]
    )
