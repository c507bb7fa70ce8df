"""Whatever is asked for: a row is what it is alone, its score the model's own, and rules hold."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublayer.generation.generate import continue_ids, generate, streams_of
from sublayer.generation.hypothesis import Groups, Power, SearchOptions, Shifted
from sublayer.generation.logits import (
    Forbidden,
    FrequencyPenalty,
    NoRepeat,
    RepetitionPenalty,
    Rules,
)
from sublayer.generation.pieces import Pieces
from sublayer.generation.sample import SampleOptions
from sublayer.generation.stopping import Stops
from sublayer.models.base import build
from sublayer.text.special import Special

V, PAD, BOS, EOS = 9, 0, 1, 2
STOPS = Stops((EOS,), (PAD, BOS))
SETTINGS = settings(max_examples=60)


@cache
def network(family):
    torch.manual_seed(3)
    keys = {
        "transformer": {"tied": "none"},
        "llama": {"n_kv_heads": 1, "window": 4},
        "gpt": {"max_length": 32, "tied": False},
        "wavenet": {"n_layers": 2, "n_stacks": 1},
        "rnn_seq2seq": {"attention": "luong", "cell": "lstm"},
    }
    if family not in {"wavenet", "rnn_seq2seq"}:
        keys[family] |= {"n_layers": 1, "n_heads": 2, "d_ff": 16}
    made = build(family, vocab_size=V, d_model=8, **keys[family])
    for weight in made.parameters():
        if weight.ndim == 2:  # sure enough of itself that rounding settles nothing
            torch.nn.init.normal_(weight, std=0.6)
    return made.eval()


def text_of(ids):
    return "".join(chr(97 + id) for id in ids)


tokens = st.integers(3, V - 1)
ids = st.lists(tokens, min_size=1, max_size=6)
sequences = st.lists(st.lists(tokens, min_size=1, max_size=3), min_size=1, max_size=4)
common = {
    "parts": st.fixed_dictionaries(
        {},
        optional={
            RepetitionPenalty: st.sampled_from([1.4, 0.8]),
            FrequencyPenalty: st.just(0.7),
            NoRepeat: st.integers(1, 3),
            Forbidden: sequences,
        },
    ),
    "prefix": st.lists(tokens, max_size=2).map(tuple),
    "stop": st.lists(st.text("defghi", min_size=1, max_size=2), max_size=2).map(tuple),
    "limit": st.integers(2, 8),
}
searches = st.fixed_dictionaries(
    common
    | {
        "beams": st.sampled_from([(1, 1), (2, 1), (3, 1), (2, 2), (4, 2), (3, 3)]),
        "penalty": st.sampled_from([Shifted(0.6), Power(0.0), Power(1.5)]),
        "strict_ends": st.booleans(),
        "diversity": st.sampled_from([0.3, 2.0]),
    }
)
samples = st.fixed_dictionaries(
    common
    | {
        "temperature": st.sampled_from([0.0, 0.7, 1.0, 2.0]),
        "top_k": st.sampled_from([0, 3]),
        "top_p": st.sampled_from([1.0, 0.8]),
        "min_p": st.sampled_from([0.0, 0.05]),
        "seed": st.integers(0, 99) | st.tuples(*[st.integers(0, 99)] * 4),
    }
)
batches = st.lists(ids, min_size=1, max_size=4)
PAIRS = {"transformer", "rnn_seq2seq"}
families = st.sampled_from(["transformer", "llama", "gpt", "wavenet", "rnn_seq2seq"])


def made(asked, n_best=None):
    """Options: of a search or of a sampling; as many of a search as there are beams, by default."""
    how = dict(asked)
    parts = tuple(rule(value) for rule, value in how.pop("parts").items())
    rules, limit = Rules(parts, how.pop("prefix")), how.pop("limit")
    if "beams" not in how:
        return SampleOptions(max_new=limit, rules=rules, **how)
    beam, groups = how.pop("beams")
    return SearchOptions(
        beam,
        how.pop("penalty"),
        limit,
        n_best or beam,
        groups=Groups(groups, how.pop("diversity")),
        rules=rules,
        **how,
    )


def write(family, rows, numbers, options):
    """What is written for each row; `numbers` are those of the rows."""
    streams = streams_of(options, [(number, 0) for number in numbers])
    if family in PAIRS:
        pieces = [Pieces(text_of, (), options.stop) for _ in rows] if options.stop else ()
        width = max(map(len, rows)) + 1
        source = torch.tensor([[*r, EOS, *[PAD] * (width - len(r) - 1)] for r in rows])
        valid = (source != PAD) if len({len(r) for r in rows}) > 1 else None
        return generate(
            network(family), source, valid, options, Special(), streams=streams, pieces=pieces
        )
    prompts = [[BOS, *row] for row in rows]
    pieces = [Pieces(text_of, p, options.stop) for p in prompts] if options.stop else ()
    return continue_ids(network(family), prompts, options, STOPS, streams=streams, pieces=pieces)


@torch.no_grad()
def teacher_forced(family, row, written):
    """The log-probability of what was written, with no cache."""
    if not written:
        return 0.0
    if family in PAIRS:
        source, target = torch.tensor([[*row, EOS]]), torch.tensor([[BOS, *written[:-1]]])
        logp = network(family)(source, target)[0].log_softmax(-1)
    else:
        logp = network(family)(torch.tensor([[BOS, *row, *written[:-1]]]))[0].log_softmax(-1)
        logp = logp[len(row) :]
    return logp[range(len(written)), written].sum().item()


def ends_with_stop(h, options):
    return any(string in text_of(h.ids) for string in options.stop)


def written_by(h, options):
    """All tokens, with the end."""
    return [*h.ids, EOS] if h.ended and not ends_with_stop(h, options) else h.ids


@SETTINGS
@given(families, batches, searches | samples)
def test_a_row_is_what_it_is_alone(family, rows, asked):
    options = made(asked)
    together = write(family, rows, range(len(rows)), options)
    for i, (row, found) in enumerate(zip(rows, together, strict=True)):
        (alone,) = write(family, [row], [i], options)
        assert [(h.ids, h.ended) for h in alone] == [(h.ids, h.ended) for h in found]
        for a, b in zip(alone, found, strict=True):
            assert (a.logprob, a.score) == pytest.approx((b.logprob, b.score), abs=1e-4)


@SETTINGS
@given(families, batches, searches | samples)
def test_logprobs_are_teacher_forced(family, rows, asked):
    options = made(asked)
    for row, found in zip(rows, write(family, rows, range(len(rows)), options), strict=True):
        assert found
        for h in found:
            own = teacher_forced(family, row, written_by(h, options))
            assert h.logprob == pytest.approx(own, abs=1e-4)


@SETTINGS
@given(families, batches, searches)
def test_scores_are_logprobs_over_the_penalty_where_rules_only_forbid(family, rows, asked):
    hard = {rule: value for rule, value in asked["parts"].items() if rule in (NoRepeat, Forbidden)}
    options = made(asked | {"parts": hard, "beams": (3, 1)})
    for found in write(family, rows, range(len(rows)), options):
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for h in found:
            length = max(len(written_by(h, options)), 1)
            assert h.score == pytest.approx(h.logprob / options.penalty(length), abs=1e-5)


@SETTINGS
@given(families, batches, searches)
def test_asking_for_more_never_changes_the_first(family, rows, asked):
    numbers = range(len(rows))
    most = write(family, rows, numbers, made(asked))
    for n in range(1, asked["beams"][0]):
        fewer = write(family, rows, numbers, made(asked, n))
        assert [[h.ids for h in row] for row in fewer] == [[h.ids for h in row[:n]] for row in most]


def times(ids, sequence):
    n = len(sequence)
    return sum(ids[at : at + n] == sequence for at in range(len(ids) - n + 1))


@SETTINGS
@given(families, batches, searches | samples)
def test_rules_hold(family, rows, asked):
    options, prefix = made(asked), list(asked["prefix"])
    for row, found in zip(rows, write(family, rows, range(len(rows)), options), strict=True):
        before = [] if family in PAIRS else [BOS, *row]
        for h in found:
            assert len(written_by(h, options)) <= asked["limit"]
            assert h.ids[: len(prefix)] == prefix[: len(h.ids)]
            assert not any(string in text_of(h.ids[:-1]) for string in options.stop)
            whole, free = before + h.ids, len(before) + len(prefix)
            n = asked["parts"].get(NoRepeat, 0)
            for end in range(max(free, n) + 1, len(whole) + 1) if n else ():
                assert times(whole[:end], whole[end - n : end]) == 1
            for sequence in asked["parts"].get(Forbidden, []):
                assert times(whole, sequence) == times(whole[:free], sequence)


@SETTINGS
@given(families, batches, samples)
def test_no_temperature_is_greedy_search_whatever_else_is_asked_for(family, rows, asked):
    cold = made(asked | {"temperature": 0.0})
    greedy = SearchOptions(1, max_length=cold.max_new, rules=cold.rules, stop=cold.stop)
    found = write(family, rows, range(len(rows)), cold)
    expected = write(family, rows, range(len(rows)), greedy)
    assert [h.ids for (h,) in found] == [h.ids for (h,) in expected]
