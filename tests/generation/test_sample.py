"""Samples have the model's distribution and follow from the seed, the row and the step alone."""

from __future__ import annotations

import math
import re

import pytest
import torch

from sublayer.generation.generate import continue_ids, generate
from sublayer.generation.logits import NoRepeat, RepetitionPenalty, Rules, temperature
from sublayer.generation.sample import SampleOptions, Sampler, draw, uniform
from sublayer.generation.stopping import Stops
from sublayer.models.base import build
from sublayer.text.special import Special

V = 12
STOPS = Stops((2,), (0, 1))
PROMPTS = [[1, 5, 6], [1], [1, 4, 4, 9, 3, 7], [1, 8]]
CRITICAL = {3: 16.27, 4: 18.47, 11: 31.26}  # chi-squared of 0.1 %, by degrees of freedom


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build(
        "llama", vocab_size=V, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=24
    ).eval()
    for weight in network.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.3)
    return network


def chi_squared(drawn, probabilities):
    counts = torch.bincount(drawn, minlength=len(probabilities)).double()
    possible = probabilities > 0
    assert not counts[~possible].any()
    expected = probabilities[possible].double() * len(drawn)
    assert expected.min() >= 5, "too few draws for the test"
    statistic = ((counts[possible] - expected) ** 2 / expected).sum().item()
    return statistic, int(possible.sum()) - 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options", [{}, {"top_k": 5}, {"top_p": 0.8}, {"temperature": 2.0}, {"min_p": 0.3}], ids=str
)
def test_draws_have_the_exact_distribution(options, seed):
    torch.manual_seed(3)
    logits = torch.randn(1, 12) * 1.2
    given = SampleOptions(seed=seed, **options)
    sampler = Sampler(given, given.streams(range(20_000)))
    probabilities = sampler.cut(logits)[0].softmax(-1)
    every = logits.expand(20_000, -1)
    drawn = sampler(every, every, range(20_000)).tokens
    statistic, freedom = chi_squared(drawn, probabilities)
    assert statistic < CRITICAL.get(freedom, 31.26)


def exactly(logits, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Probabilities of the tokens, cut one after another, on lists."""
    total = sum(math.exp(x / temperature) for x in logits)
    shares = {token: math.exp(x / temperature) / total for token, x in enumerate(logits)}
    best_first = sorted(shares, key=lambda token: -shares[token])[: top_k or None]
    total, kept, sum_so_far = sum(shares[token] for token in best_first), [], 0.0
    for token in best_first:
        if sum_so_far < top_p * total:
            kept.append(token)
        sum_so_far += shares[token]
    kept = [token for token in kept if shares[token] >= min_p * shares[best_first[0]]]
    total = sum(shares[token] for token in kept)
    return [shares[token] / total if token in kept else 0.0 for token in shares]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.5, "top_k": 8, "top_p": 0.85, "min_p": 0.05},  # 7 are left, for top_p
        {"temperature": 0.7, "top_k": 9, "top_p": 0.95, "min_p": 0.3},  # 4, for min_p
        {"temperature": 2.0, "top_k": 4, "top_p": 0.99, "min_p": 0.2},  # 4, for top_k
    ],
    ids=str,
)
def test_cuts_together_leave_the_exact_distribution(options, seed):
    torch.manual_seed(3)
    logits = torch.randn(12) * 1.2
    given = SampleOptions(seed=seed, **options)
    sampler = Sampler(given, given.streams(range(20_000)))
    probabilities = torch.tensor(exactly(logits.tolist(), **options))
    every = logits.expand(20_000, -1)
    drawn = sampler(every, every, range(20_000)).tokens
    statistic, freedom = chi_squared(drawn, probabilities)
    assert statistic < freedom + 3.5 * (2 * freedom) ** 0.5 + 2


def test_a_models_samples_have_its_distribution(network):
    """Of the second token: the joint distribution, over all that may come first."""
    n = 20_000
    options = SampleOptions(seed=1, max_new=2, temperature=1.5)
    found = continue_ids(network, [[1, 5, 6]] * n, options, Stops((), (0, 1, 2, 3)))
    drawn = torch.tensor([h.ids for (h,) in found])

    def next_after(ids):
        logits = network(torch.tensor([[1, 5, 6, *ids]]))[0, -1] / 1.5
        logits[:4] = float("-inf")
        return logits.softmax(-1)

    with torch.no_grad():
        first = next_after([])
        both = torch.stack([first[i] * next_after([i]) for i in range(V)]).flatten()
    common = both * n >= 5  # the others are one class
    classes = torch.where(common, common.cumsum(0), 0)
    probabilities = torch.zeros(int(common.sum()) + 1).index_add(0, classes, both)
    statistic, freedom = chi_squared(classes[drawn[:, 0] * V + drawn[:, 1]], probabilities)
    assert statistic < freedom + 3.5 * (2 * freedom) ** 0.5


def test_numbers_are_uniform_and_unlike_for_every_seed_row_and_step():
    numbers = torch.tensor(
        [uniform(s, r, t) for s in (0, 1, -7, 2**63) for r in range(50) for t in range(50)],
        dtype=torch.float64,
    )
    assert len(set(numbers.tolist())) == len(numbers)
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    counts = torch.histc(numbers, 5, 0, 1)
    assert ((counts - 2000) ** 2 / 2000).sum() < CRITICAL[4]


def test_the_ends_of_the_unit_interval_draw_what_is_possible():
    logits = torch.tensor([[float("-inf"), 1.0, 0.0, float("-inf")]])
    assert draw(logits, [0.0]).tolist() == [1]
    assert draw(logits, [1 - 2**-52]).tolist() == [2]


@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_a_sample_does_not_depend_on_its_neighbours(network, penalty):
    options = SampleOptions(
        seed=5, max_new=12, top_p=0.95, rules=Rules((RepetitionPenalty(penalty),))
    )
    together = continue_ids(network, PROMPTS, options, STOPS)
    for row, prompt in enumerate(PROMPTS):
        alone = continue_ids(network, [prompt], options, STOPS, streams=[(5, row)])
        assert alone[0][0].ids == together[row][0].ids
        assert alone[0][0].logprob == pytest.approx(together[row][0].logprob, abs=1e-4)


def test_rows_steps_and_seeds_differ(network):
    options = SampleOptions(seed=5, max_new=12)
    stops = Stops((), (0, 1))
    found = continue_ids(network, [[1, 5]] * 4, options, stops)
    others = continue_ids(network, [[1, 5]] * 4, SampleOptions(seed=6, max_new=12), stops)
    texts = {tuple(h.ids) for (h,) in [*found, *others]}
    assert len(texts) == 8
    again = continue_ids(network, [[1, 5]] * 4, options, stops)
    assert found == again


def test_a_two_part_models_samples_have_its_distribution_under_rules():
    """Of the second token, of which the first is forbidden by then."""
    torch.manual_seed(0)
    network = build("transformer", vocab_size=8, d_model=8, n_layers=1, n_heads=2, d_ff=16).eval()
    n, source = 10_000, torch.tensor([[4, 5, 2]])
    options = SampleOptions(seed=4, max_new=2, rules=Rules((NoRepeat(1),), prefix=()))
    special = Special(pad=0, bos=1, eos=0)  # so that texts do not end
    found = generate(network, source.expand(n, -1), None, options, special)
    drawn = torch.tensor([h.ids for (h,) in found if len(h.ids) == 2])
    assert len(drawn) < n  # for the end may be drawn too

    def after(ids):
        logits = network(source, torch.tensor([[1, *ids]]))[0, -1]
        logits[[1, *ids]] = float("-inf")
        return logits.softmax(-1)

    with torch.no_grad():
        first = after([])
        both = torch.stack([first[i] * after([i]) * (i > 0) for i in range(8)])
    both[:, 0] = 0
    seen = drawn[:, 0] * 8 + drawn[:, 1]
    statistic, freedom = chi_squared(seen, (both / both.sum()).flatten())
    assert freedom == 6 * 5 - 1
    assert statistic < freedom + 3.5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_a_row_with_its_own_seed_draws_by_it_alone(network, order):
    seeds = (7, 3, 7, 2**40)
    options = SampleOptions(seed=tuple(seeds[i] for i in order), max_new=12)
    prompts = [PROMPTS[i] for i in order]
    found = continue_ids(network, prompts, options, STOPS)
    for i, (h,) in zip(order, found, strict=True):
        alone = SampleOptions(seed=(seeds[i],), max_new=12)
        assert continue_ids(network, [PROMPTS[i]], alone, STOPS)[0][0].ids == h.ids
    same = [h.ids for (h,) in continue_ids(network, [[1, 5]] * 4, options, STOPS)]
    assert same[order.index(0)] == same[order.index(2)]
    assert same[order.index(0)] != same[order.index(1)]


def test_further_draws_and_other_rows_have_streams_of_their_own():
    one, many = SampleOptions(seed=5), SampleOptions(seed=(5, 6, 5))
    assert one.streams([0, 2]) == [(5, 0), (5, 2)]
    assert many.streams([0, 2]) == [(5, 0), (5, 0)]
    streams = [s for draw in range(3) for s in one.streams(range(4), draw)]
    assert len(set(streams)) == 12
    assert many.streams([1], draw=2) == [(6, 2**33)]
    assert SampleOptions().seeded().seed is not None
    assert one.seeded() is one


def test_seeds_for_too_few_rows_are_refused(network):
    with pytest.raises(ValueError, match="there are 2 seeds for 4 rows; give each one"):
        continue_ids(network, PROMPTS, SampleOptions(seed=(1, 2)), STOPS)


def test_without_a_seed_samples_differ_each_time(network):
    options, stops = SampleOptions(max_new=12), Stops((), (0, 1))
    first, second = (continue_ids(network, [[1, 5]], options, stops) for _ in range(2))
    assert first != second


def test_logprobs_are_the_models_own_whatever_was_done_to_the_logits(network):
    rules = Rules((RepetitionPenalty(1.5),))
    options = SampleOptions(temperature=0.5, top_k=4, rules=rules, seed=2, max_new=8)
    for prompt, (found,) in zip(
        PROMPTS, continue_ids(network, PROMPTS, options, STOPS), strict=True
    ):
        written = [*found.ids, 2] if found.ended else found.ids
        with torch.no_grad():
            logp = network(torch.tensor([[*prompt, *written]]))[0].log_softmax(-1)
        at = logp[range(len(prompt) - 1, len(prompt) + len(written) - 1), written]
        assert found.logprob == pytest.approx(at.sum().item(), abs=1e-4)
        assert found.score == found.logprob


def test_a_temperature_too_small_to_divide_by_draws_the_likeliest():
    logits = torch.tensor([[1.0, 80.0, 79.0, -torch.inf], [5.0, -3.0, 2.0, 4.0]])
    for t in (1e-8, 1e-40):
        assert draw(temperature(logits, t), [0.0, 0.999]).tolist() == [1, 0]


def test_a_model_that_gives_no_numbers_is_told(network):
    network.head.register_forward_hook(lambda module, given, logits: logits * torch.nan)
    with pytest.raises(ValueError, match="gives no numbers"):
        continue_ids(network, [[1]], SampleOptions(seed=1, max_new=4), STOPS)


def test_what_is_never_written_is_never_drawn(network):
    stops = Stops((), (0, 1, 5, 6, 7))
    rules = Rules((RepetitionPenalty(1.2),))
    options = SampleOptions(temperature=3.0, seed=0, max_new=30, rules=rules)
    for (found,) in continue_ids(network, PROMPTS, options, stops):
        assert not {0, 1, 5, 6, 7} & set(found.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or more, got -1.0"),
        ({"top_k": -1}, "top_k must be 0 or more, got -1"),
        ({"top_p": 0.0}, "top_p must be over 0 and at most 1, got 0.0"),
        ({"top_p": 1.1}, "top_p must be over 0 and at most 1, got 1.1"),
        ({"min_p": 1.1}, "min_p must be from 0 to 1, got 1.1"),
        ({"max_new": 0}, "max_new must be 1 or more, got 0"),
        ({"stop": ("a", "")}, "stop must be a tuple of strings that are not empty: ('a', '')"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SampleOptions(**options)
