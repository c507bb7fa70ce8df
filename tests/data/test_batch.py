"""Rows as tensors."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublayer.data.batch import collate, pad_source, spell
from sublayer.text.special import Special, Spelling

ids = st.lists(st.integers(4, 99), max_size=6)


def as_row(source: list[int], target: list[int]):
    return np.array(source, np.uint16), np.array(target, np.uint32)


def test_padded_pairs():
    batch = collate([as_row([5, 6], [7]), as_row([8], [9, 10, 11])], Special(), Special())
    assert batch.source.tolist() == [[5, 6, 2], [8, 2, 0]]
    assert batch.source_valid.tolist() == [[True, True, True], [True, True, False]]
    assert batch.target_in.tolist() == [[1, 7, 2, 0], [1, 9, 10, 11]]
    assert batch.target_out.tolist() == [[7, 2, 0, 0], [9, 10, 11, 2]]
    assert batch.target_valid.tolist() == [[True, True, False, False], [True, True, True, True]]
    assert batch.tokens == 6
    assert batch.source.dtype == batch.target.dtype == torch.int64


def test_each_side_has_its_special_ids():
    batch = collate([as_row([5], [7]), as_row([], [])], Special(), Special(pad=9, bos=8, eos=6))
    assert batch.source.tolist() == [[5, 2], [2, 0]]
    assert batch.target.tolist() == [[8, 7, 6], [8, 6, 9]]


def test_without_padding_there_is_no_mask():
    batch = collate([as_row([5], [7]), as_row([6], [8, 9])], Special(), Special())
    assert batch.source_valid is None
    moved = batch.to("cpu")
    assert moved.source_valid is None
    assert torch.equal(moved.target, batch.target)
    assert moved.tokens == batch.tokens == 5


@given(rows=st.lists(st.tuples(ids, ids), min_size=1))
def test_rows_come_back(rows):
    batch = collate([as_row(*row) for row in rows], Special(), Special())
    valid = (
        torch.ones_like(batch.source, dtype=torch.bool)
        if batch.source_valid is None
        else batch.source_valid
    )
    assert [row[here].tolist() for row, here in zip(batch.source, valid, strict=True)] == [
        [*s, 2] for s, _ in rows
    ]
    outputs = zip(batch.target_out, batch.target_valid, strict=True)
    assert [row[here].tolist() for row, here in outputs] == [[*t, 2] for _, t in rows]
    assert batch.tokens == int(batch.target_valid.sum())
    source, source_valid = pad_source([s for s, _ in rows], Special())
    assert torch.equal(source, batch.source)
    assert (source_valid is None) == (batch.source_valid is None)


SPELLING = Spelling((1, 2, 3), 4)


def spelled(row: list[int]) -> list[list[int]]:
    """A row's words, one after another: from what begins one up to the next, 49 of it at most."""
    words: list[list[int]] = []
    for id in row:
        if id in SPELLING.begins:
            words.append([])
        words[-1].append(id)
    return [[*word[:49], 4] for word in words]


words = st.lists(st.integers(5, 9), max_size=60).map(lambda word: [3, *word])


@given(rows=st.lists(st.lists(words).map(lambda row: [1, *chain(*row), 2]), min_size=1))
def test_words_are_spelled(rows):
    letters, valid = spell(rows, SPELLING, 0)
    counts = [len(spelled(row)) for row in rows]
    assert letters.shape[:2] == (len(rows), max(counts))
    assert (valid is None) == (len(set(counts)) == 1)
    for i, row in enumerate(rows):
        own = spelled(row)
        assert valid is None or valid[i].tolist() == [n < counts[i] for n in range(max(counts))]
        for word, ids in zip(letters[i].tolist(), own, strict=False):
            assert word == ids + [0] * (letters.shape[2] - len(ids))
        assert not letters[i, len(own) :].any()
    assert letters.any(0).any(0).all()  # no wider than the longest word
