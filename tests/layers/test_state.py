"""A state is plain concatenation and indexing, whatever the order of events."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sublayer.layers.state import NOWHERE, State

HEADS, WIDTH, OWNERS = 2, 3, 2
appends = st.tuples(st.integers(0, OWNERS - 1), st.integers(1, 20))  # whose, how many positions
reorders = st.lists(st.integers(0, 7), max_size=4)  # of the rows there are, by their remainder


@given(st.integers(1, 3), st.lists(appends | reorders, max_size=12))
def test_append_and_reorder_are_concatenation_and_indexing(rows, events):
    state, owners = State(), [nn.Identity() for _ in range(OWNERS)]
    plain = [torch.zeros(2, rows, HEADS, 0, WIDTH) for _ in owners]  # keys and values
    for event in events:
        if isinstance(event, tuple):
            who, n = event
            new = torch.randn(2, rows, HEADS, n, WIDTH)
            plain[who] = torch.cat([plain[who], new], 3)
            assert torch.equal(torch.stack(state.append(owners[who], *new)), plain[who])
        else:
            index = torch.tensor([i % rows for i in event if rows], dtype=torch.long)
            plain, rows = [past[:, index] for past in plain], len(index)
            state.reorder(index)


@given(st.lists(st.integers(0, 2), max_size=5))
def test_what_is_made_once_is_reordered_with_the_rest(index):
    state, owner, made, calls = State(), nn.Identity(), (torch.randn(3, 2), torch.randn(3)), []

    def make():
        calls.append(1)
        return made

    assert state.once(owner, make) is made
    before = [tensor.clone() for tensor in made]
    state.reorder(torch.tensor(index, dtype=torch.long))
    again = state.once(owner, make)
    assert calls == [1]
    assert all(torch.equal(a, b[index]) for a, b in zip(again, before, strict=True))


def test_what_was_given_back_is_not_changed_by_what_follows():
    state, owner = State(), nn.Identity()
    keys, _ = state.append(owner, *torch.randn(2, 1, HEADS, 3, WIDTH))
    before = keys.clone()
    for _ in range(40):
        state.append(owner, *torch.randn(2, 1, HEADS, 1, WIDTH))
    state.reorder(torch.tensor([0]))
    assert torch.equal(keys, before)


def test_nothing_is_seen_at_first():
    assert State().seen == 0


def test_the_state_says_where_slots_stand():
    state, cpu = State(), torch.device("cpu")
    new, places = state.advance(3, cpu, torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool))
    assert new.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert places.tolist() == [[0, 1, 2], [0, NOWHERE, NOWHERE]]
    new, places = state.advance(1, cpu)
    assert new.tolist() == [[3], [1]]
    assert places.tolist() == [[0, 1, 2, 3], [0, NOWHERE, NOWHERE, 1]]
    state.reorder(torch.tensor([1]))
    new, places = state.advance(2, cpu)
    assert new.tolist() == [[2, 3]]
    assert places.tolist() == [[0, NOWHERE, NOWHERE, 1, 2, 3]]
    assert state.seen == 6


def test_rows_that_are_alike_share_their_positions():
    state, cpu = State(), torch.device("cpu")
    new, places = state.advance(3, cpu)
    assert new is places
    new, places = state.advance(2, cpu)
    assert new.tolist() == [3, 4]
    assert places.tolist() == [0, 1, 2, 3, 4]


def test_rows_may_part_after_a_common_beginning():
    state, cpu = State(), torch.device("cpu")
    state.advance(2, cpu)
    new, places = state.advance(2, cpu, torch.tensor([[1, 1], [1, 0]], dtype=torch.bool))
    assert new.tolist() == [[2, 3], [2, 0]]
    assert places.tolist() == [[0, 1, 2, 3], [0, 1, 2, NOWHERE]]


def test_what_is_carried_follows_lanes_and_rows():
    state, owner = State(), torch.nn.Identity()
    assert state.carried(owner) is None
    state.carry(owner, torch.tensor([[[0.0]], [[10.0]]]))
    state.branch(torch.zeros(2, 3, dtype=torch.long))
    assert state.has_lanes
    state.carry(owner, torch.tensor([[[0.0], [1.0], [2.0]], [[10.0], [11.0], [12.0]]]))
    state.branch(torch.tensor([[2, 2, 0], [1, 0, 1]]))
    state.reorder(torch.tensor([1]))
    carried = state.carried(owner)
    assert carried is not None
    assert carried[0].squeeze(-1).tolist() == [[11.0, 10.0, 11.0]]
