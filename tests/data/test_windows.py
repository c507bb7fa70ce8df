from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.data.windows import GROUP, grouped, keep_probability, noise_distribution


def pairs(ids, texts, widths):
    """Every place with every other in its window, in loops."""
    return Counter(
        (i, ids[i], ids[j])
        for i in range(len(ids))
        for j in range(len(ids))
        if i != j and abs(i - j) <= widths[i] and texts[i] == texts[j]
    )


@given(data=st.data(), n=st.integers(0, 3 * GROUP + 2), window=st.integers(1, 6))
def test_pairs_by_brute_force(data, n, window):
    draw = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    ids, widths = draw.integers(0, 9, n), draw.integers(1, window + 1, n)
    texts = np.cumsum(draw.random(n) < 0.2)
    centres, around, near = grouped(ids, texts, widths, window)
    assert centres.shape == (max(1, -(-n // GROUP)), GROUP)
    assert around.shape == (len(centres), GROUP + 2 * window)
    found = Counter(
        (g * GROUP + t, int(centres[g, t]), int(around[g, s]))
        for g, t, s in near.nonzero().tolist()
    )
    assert found == pairs(ids.tolist(), texts.tolist(), widths.tolist())


def test_words_stay_by_the_codes_formula():
    """sqrt(t / f) + t / f; the paper's eq. 5 is the first term."""
    counts = [0, 1, 60, 939, 99_000]
    keep = keep_probability(counts, 1e-3)
    share = np.array(counts[1:]) / 100_000
    paper = 1 - (1 - np.sqrt(1e-3 / share))  # 1 - P(discard)
    np.testing.assert_allclose(keep[1:], np.minimum(1, paper + 1e-3 / share), rtol=1e-12)
    # as word2vec.c has it
    code = (np.sqrt(share * 100_000 / (1e-3 * 100_000)) + 1) * (1e-3 * 100_000) / (share * 100_000)
    np.testing.assert_allclose(keep[1:], np.minimum(1, code), rtol=1e-12)
    assert keep[0] == keep[1] == keep[2] == 1
    assert (keep_probability(counts, 0.0) == 1).all()


def test_noise_is_the_count_to_three_quarters():
    assert noise_distribution([0, 1, 16, 81]) == pytest.approx([0, 1 / 36, 8 / 36, 27 / 36])
