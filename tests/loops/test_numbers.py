"""Single numbers as loops have them, beside NumPy and PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sublayer.loops.numbers import exp, ordered, unordered


@pytest.mark.parametrize("x", [0.0, -1e-8, -0.3, -1.0, -3.7, -20.0, -80.0])
def test_powers_of_e_are_exact_to_seven_digits(x):
    assert exp(np.float32(x)) == pytest.approx(math.exp(np.float32(x)), rel=4e-7)


def test_what_is_too_small_to_tell_is_next_to_nothing_and_nan_stays():
    assert 0 <= exp(np.float32(-1e9)) < 1e-37
    assert 0 <= exp(np.float32(-np.inf)) < 1e-37
    assert math.isnan(exp(np.float32(np.nan)))


def test_whole_numbers_are_in_the_order_of_their_floats():
    floats = [-np.inf, -3.5, -1e-40, -0.0, 0.0, 1e-40, 2.0, 7.25, np.inf]
    whole = [ordered(np.float32(x)) for x in floats]
    assert whole == sorted(whole)
    assert [unordered(np.int32(n)) for n in whole] == [np.float32(x) for x in floats]
    assert ordered(np.float32(np.nan)) > ordered(np.float32(np.inf))
