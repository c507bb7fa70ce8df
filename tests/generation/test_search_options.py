"""Beam search with rules, groups and stop strings equals enumeration and loops over lists."""

from __future__ import annotations

import re

import pytest
import torch

from sublayer.generation.generate import continue_ids, generate
from sublayer.generation.hypothesis import Groups, Power, SearchOptions, Shifted
from sublayer.generation.logits import (
    Forbidden,
    FrequencyPenalty,
    NoRepeat,
    Past,
    RepetitionPenalty,
    Rules,
)
from sublayer.generation.pieces import Pieces
from sublayer.generation.sample import SampleOptions
from sublayer.generation.stopping import Stops
from sublayer.models.base import build

BOS, EOS = 1, 2
NEVER = float("-inf")
WHOLE = 1024  # beams: more than there are hypotheses of up to four tokens
RULES = {
    "none": Rules(),
    "forbidden": Rules((Forbidden([[4, 5], [3, 3], [5, 3, 4]]),)),
    "a token": Rules((Forbidden([[3]]),)),
    "n-grams": Rules((NoRepeat(2),)),
    "no token twice": Rules((NoRepeat(1),)),
    "prefix": Rules(prefix=(5, 5)),
    "prefix and n-grams": Rules((NoRepeat(1), Forbidden([[5, 4]])), prefix=(5, 5)),
    "repetition": Rules((RepetitionPenalty(1.7),)),
    "frequency": Rules((FrequencyPenalty(0.9), RepetitionPenalty(0.8))),
    "all": Rules((RepetitionPenalty(1.3), FrequencyPenalty(0.4), NoRepeat(2), Forbidden([[3, 4]]))),
}


@pytest.fixture(params=RULES)
def rules(request):
    return RULES[request.param]


def text_of(ids):
    """A letter for each id, so 4 is "e"."""
    return "".join(chr(97 + id) for id in ids)


class Model:
    """What lists need of a two-part model and one source."""

    def __init__(self, network, source, rules, ends=(EOS,)):
        self.network, self.source, self.rules, self.ends = network, source, rules, ends
        self.known = {}

    @torch.no_grad()
    def after(self, ids):
        """For each token: its own log-probability and that with the rules."""
        if tuple(ids) not in self.known:
            own = self.network(self.source, torch.tensor([[BOS, *ids]]))[0, -1].log_softmax(-1)
            own[:2] = NEVER
            ruled = self.rules(own.unsqueeze(0), Past(torch.tensor([ids], dtype=torch.long)))[0]
            self.known[tuple(ids)] = list(zip(own.tolist(), ruled.tolist(), strict=True))
        return self.known[tuple(ids)]

    def candidates(self, alive, less):
        """(ids, token, own, total) of all that may follow, `less` off each token's total; stuck."""
        after = [
            (*a, token, own, ruled)
            for a in alive
            for token, (own, ruled) in enumerate(self.after(a[0]))
        ]
        found = [
            (ids, token, own + o, total + r - less(token))
            for ids, own, total, token, o, r in after
            if r > NEVER
        ]
        stuck = [a for a in alive if all(r == NEVER for _, r in self.after(a[0]))]
        return sorted(found, key=lambda c: -c[3]), stuck


def cut(texts, penalty):
    """What has no end."""
    return [(ids, own, total / penalty(max(len(ids), 1)), False) for ids, own, total in texts]


def enumerate_all(model, limit, penalty):
    """(ids, own, score, ended) of every text that ends, is cut or can be followed by nothing."""
    found, alive = [], [([], 0.0, 0.0)]
    for length in range(1, limit + 1):
        candidates, stuck = model.candidates(alive, lambda token: 0.0)
        found += cut(stuck, penalty)
        found += [
            (ids, own, total / penalty(length), True)
            for ids, token, own, total in candidates
            if token in model.ends
        ]
        alive = [([*i, t], own, total) for i, t, own, total in candidates if t not in model.ends]
    return sorted(found + cut(alive, penalty), key=lambda f: -f[2])


class PlainGroup:
    """What one group of beams has, on lists."""

    def __init__(self, model, options, stop):
        self.model, self.options, self.stop = model, options, stop
        self.found, self.alive = [], [([], 0.0, 0.0)]

    def step(self, length, said):
        options, penalty = self.options, self.options.penalty
        width = options.beam // options.groups.count
        candidates, stuck = self.model.candidates(
            self.alive, lambda token: options.groups.diversity * said.count(token)
        )
        self.found += cut(stuck, penalty)
        self.alive = []
        for ids, token, own, total in candidates[: (1 + len(self.model.ends)) * width]:
            if token in self.model.ends:
                self.found.append((ids, own, total / penalty(length), True))
            elif any(s in text_of([*ids, token]) for s in self.stop):
                self.found.append(([*ids, token], own, total / penalty(length), True))
            elif len(self.alive) < width:
                self.alive.append(([*ids, token], own, total))
        said += [ids[-1] for ids, _, _ in self.alive]


def plain_beam_search(model, limit, options, stop=()):
    """On lists, group by group, to the very end."""
    groups = [PlainGroup(model, options, stop) for _ in range(options.groups.count)]
    for length in range(1, limit + 1):
        said = []
        for group in groups:
            group.step(length, said)
    found = [sorted(g.found + cut(g.alive, options.penalty), key=lambda f: -f[2]) for g in groups]
    rounds = [[f[i] for f in found if i < len(f)] for i in range(-(-options.n_best // len(groups)))]
    return [h for r in rounds for h in sorted(r, key=lambda f: -f[2])][: options.n_best]


def assert_same(found, expected):
    assert [(h.ids, h.ended) for h in found] == [(ids, ended) for ids, _, _, ended in expected]
    for h, (_, own, score, _) in zip(found, expected, strict=True):
        assert (h.logprob, h.score) == pytest.approx((own, score), abs=1e-4)


def test_a_beam_as_wide_as_the_space_finds_everything_that_rules_leave(network, source, rules):
    only, limit = source[0][:1], 4
    options = SearchOptions(WHOLE, 0.6, limit, n_best=WHOLE, rules=rules)
    expected = enumerate_all(Model(network, only, rules), limit, Shifted(0.6))
    assert_same(generate(network, only, options=options)[0], expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_narrow_beam_finds_what_lists_find(network, source, rules, groups):
    only, limit = source[0][:1], 7
    model = Model(network, only, rules)
    for n_best in (1, 4):
        options = SearchOptions(
            4, Power(0.8), limit, n_best, groups=Groups(groups, 0.7), rules=rules
        )
        expected = plain_beam_search(model, limit, options)
        assert_same(generate(network, only, options=options)[0], expected)


@pytest.mark.parametrize("stop", [("e",), ("ef", "dd"), ("fef", "eed", "zz")], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_stop_string_ends_hypotheses_of_a_beam(network, source, stop, groups):
    only, limit = source[0][:1], 7
    options = SearchOptions(4, 0.6, limit, 4, groups=Groups(groups, 0.5), stop=stop)
    pieces = [Pieces(text_of, (), stop)]
    expected = plain_beam_search(Model(network, only, Rules()), limit, options, stop)
    (found,) = generate(network, only, options=options, pieces=pieces)
    assert_same(found, expected)
    for h in found:
        assert not any(s in text_of(h.ids[:-1]) for s in stop)
        assert h.ended or not any(s in text_of(h.ids) for s in stop)


def test_strict_ends_are_of_the_best_for_stop_strings_too(network, source):
    only = source[0][:1]

    def search(strict):
        options = SearchOptions(2, 0.0, 6, 2, strict_ends=strict, stop=("e", "f", "d"))
        pieces = [Pieces(text_of, (), options.stop)]
        return generate(network, only, options=options, pieces=pieces)[0]

    assert [len(h.ids) <= 1 for h in search(strict=True)] == [True, True]
    assert search(strict=True) == search(strict=False)  # here the best two are all that is kept


def test_groups_begin_with_other_tokens_where_diversity_is_all(network, source, lean):
    lean(network, [EOS], by=-1e4)

    def firsts(options):
        return [[h.ids[:1] for h in row] for row in generate(network, *source, options)]

    diverse = firsts(SearchOptions(3, 0.0, 6, n_best=3, groups=Groups(3, 50.0)))
    assert all(len({tuple(ids) for ids in row}) == 3 for row in diverse)


def test_the_first_group_is_a_beam_search_of_its_width(network, source):
    alone = generate(network, *source, SearchOptions(2, 0.6, 6, n_best=1))
    grouped = generate(network, *source, SearchOptions(4, 0.6, 6, n_best=4, groups=Groups(2, 0.3)))
    for (best,), found in zip(alone, grouped, strict=True):
        assert best.ids in [h.ids for h in found]


# ---- where nothing may follow --------------------------------------------------------------------


@pytest.fixture
def language():
    torch.manual_seed(0)
    network = build("gpt", vocab_size=6, d_model=8, n_layers=1, n_heads=2, max_length=20).eval()
    torch.nn.init.normal_(network.head.weight, std=0.8)
    return network


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(1, max_length=9, rules=Rules((NoRepeat(1),))),
        SearchOptions(2, max_length=9, rules=Rules((NoRepeat(1),))),
        SampleOptions(seed=1, max_new=9, rules=Rules((NoRepeat(1),))),
    ],
    ids=["greedy", "beam", "sample"],
)
def test_a_text_ends_where_nothing_may_follow(language, options):
    """With no end token and no token twice, a text has at most the tokens its prompt lacks."""
    prompts = [[4], [4, 5, 5], [2, 3, 4, 5, 0, 1], [1]]
    found = continue_ids(language, prompts, options, Stops((), (0, 1)))
    assert [sorted(row[0].ids) for row in found] == [[2, 3, 5], [2, 3], [], [2, 3, 4, 5]]
    assert not any(h.ended for row in found for h in row)
    assert (found[2][0].logprob, found[2][0].score) == (0.0, 0.0)
    for prompt, row in zip(prompts, found, strict=True):
        (alone,) = continue_ids(language, [prompt], options, Stops((), (0, 1)))
        if isinstance(options, SearchOptions):
            assert [h.ids for h in alone] == [h.ids for h in row]


def test_a_prefix_that_does_not_fit_is_refused(language):
    options = SearchOptions(1, max_length=2, rules=Rules(prefix=(3, 4, 5)))
    with pytest.raises(ValueError, match="prefix has 3 tokens, but an output may have 2"):
        continue_ids(language, [[1]], options, Stops())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 4, "groups": Groups(3)}, "beam 4 is no multiple of groups 3"),
        ({"stop": ("a", "")}, "stop must be a tuple of strings that are not empty: ('a', '')"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SearchOptions(**options)


def test_groups_out_of_range_are_refused():
    with pytest.raises(ValueError, match="groups must be 1 or more, got 0"):
        Groups(0)
    with pytest.raises(ValueError, match=re.escape("diversity must be over 0, got 0.0")):
        Groups(2, 0.0)
