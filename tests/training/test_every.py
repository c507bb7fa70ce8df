"""Intervals in any unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.training.every import Every, Moment


def moment(step=0, epoch=0.0, minutes=0.0, progress=0.0):
    return Moment(step, epoch, minutes, progress)


@pytest.mark.parametrize(
    ("text", "before", "now"),
    [
        ("500 steps", moment(step=499), moment(step=500)),
        ("1 step", moment(step=1), moment(step=2)),
        ("2 epochs", moment(epoch=1.99), moment(epoch=2.0)),
        ("10 min", moment(minutes=19.9), moment(minutes=20.1)),
        ("5 %", moment(progress=0.149), moment(progress=0.15)),
        ("5%", moment(progress=0.99), moment(progress=1.0)),
    ],
)
def test_due_when_a_multiple_is_passed(text, before, now):
    assert Every.parse(text).is_due(before, now)
    assert not Every.parse(text).is_due(now, now)


@given(st.integers(1, 50), st.integers(1, 400))
def test_due_once_for_each_multiple(amount, steps):
    every = Every.parse(f"{amount} steps")
    due = [n for n in range(1, steps + 1) if every.is_due(moment(step=n - 1), moment(step=n))]
    assert due == list(range(amount, steps + 1, amount))


@pytest.mark.parametrize(
    "text", ["", "5", "steps", "0 steps", "-1 steps", "5 parsecs", "five steps"]
)
def test_no_interval(text):
    with pytest.raises(ValueError, match="is no interval; write for example '500 steps'"):
        Every.parse(text)
