"""Each rule equals transformers' processor, and the same written as a plain loop."""

from __future__ import annotations

import re

import pytest
import torch
import transformers as hf

from sublayer.generation.logits import (
    NOTHING,
    Forbidden,
    FrequencyPenalty,
    NoRepeat,
    Past,
    RepetitionPenalty,
    Rules,
)

V, NEVER = 12, float("-inf")
CLOSE = {"atol": 1e-6, "rtol": 1e-6}
SEQUENCES = [[3], [5, 4], [5, 5], [1, 2, 3], [4, 5, 1, 2], [7], [9, 9, 9, 9, 9, 9, 9, 9, 9]]


@pytest.fixture(params=range(4))
def logits(request):
    torch.manual_seed(request.param)
    return torch.randn(6, V) * 3


@pytest.fixture(params=[0, 1, 2, 9], ids=lambda n: f"{n} written")
def past(request, logits):
    """Prompts of unlike length, and as many tokens written; few kinds, so that some repeat."""
    prompts = [torch.randint(1, 6, (n,)).tolist() for n in (1, 5, 2, 3, 7, 4)]
    past = Past.of(prompts, torch.device("cpu"))
    for _ in range(request.param):
        past = past.then(torch.randint(1, 6, (6,)))
    return past


def rows(past):
    """Ids of prompt and output, and of the output alone, of each row."""
    whole = [[id for id in row if id != NOTHING] for row in past.ids.tolist()]
    return list(zip(whole, past.output.tolist(), strict=True))


def theirs(processor, logits, past):
    """Row by row: their rows have no room before them."""
    return torch.cat(
        [
            processor(torch.tensor([whole]), logits[i : i + 1])
            for i, (whole, _) in enumerate(rows(past))
        ]
    )


def test_past_stands_at_the_right_and_knows_what_was_written():
    past = Past.of([[4, 5], [6]], torch.device("cpu")).then(torch.tensor([7, 8]))
    assert past.ids.tolist() == [[4, 5, 7], [NOTHING, 6, 8]]
    assert past.output.tolist() == [[7], [8]]
    assert past.take(torch.tensor([1, 1])).ids.tolist() == [[NOTHING, 6, 8]] * 2
    assert (past.written, past.take(torch.tensor([1])).written) == (1, 1)
    assert Past.of([[], []], torch.device("cpu")).ids.shape == (2, 0)


@pytest.mark.parametrize("penalty", [0.8, 1.0, 1.3])
def test_repetition_penalty(logits, past, penalty):
    expected = logits.clone()
    for i, (whole, _) in enumerate(rows(past)):
        for token in set(whole):
            old = logits[i, token]
            expected[i, token] = old / penalty if old > 0 else old * penalty
    found = RepetitionPenalty(penalty)(logits, past)
    torch.testing.assert_close(found, expected, **CLOSE)
    processor = hf.RepetitionPenaltyLogitsProcessor(penalty)
    torch.testing.assert_close(found, theirs(processor, logits, past), **CLOSE)


@pytest.mark.parametrize("penalty", [0.0, 0.4, 2.0])
def test_frequency_penalty(logits, past, penalty):
    expected = logits.clone()
    for i, (_, output) in enumerate(rows(past)):
        for token in output:
            expected[i, token] -= penalty
    torch.testing.assert_close(FrequencyPenalty(penalty)(logits, past), expected, **CLOSE)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_repeat(logits, past, n):
    expected = logits.clone()
    for i, (whole, _) in enumerate(rows(past)):
        known = {tuple(whole[at : at + n]) for at in range(len(whole) - n + 1)}
        for token in range(V):
            if len(whole) >= n - 1 and (*whole[len(whole) - n + 1 :], token) in known:
                expected[i, token] = NEVER
    found = NoRepeat(n)(logits, past)
    assert torch.equal(found, expected)
    assert torch.equal(found, theirs(hf.NoRepeatNGramLogitsProcessor(n), logits, past))


def test_forbidden(logits, past):
    expected = logits.clone()
    for i, (whole, _) in enumerate(rows(past)):
        for *before, last in SEQUENCES:
            if whole[len(whole) - len(before) :] == before:
                expected[i, last] = NEVER
    found = Forbidden(SEQUENCES)(logits, past)
    assert torch.equal(found, expected)
    assert torch.equal(found, theirs(hf.NoBadWordsLogitsProcessor(SEQUENCES), logits, past))


@pytest.mark.parametrize("rule", [RepetitionPenalty(1.3), FrequencyPenalty(0.5), NoRepeat(1)])
def test_nothing_written_and_no_prompt_changes_nothing(logits, rule):
    none = Past.of([[]] * len(logits), logits.device)
    assert torch.equal(rule(logits, none), logits)


def test_what_is_ruled_out_stays_so(logits, past):
    logits[:, 3] = NEVER
    rules = Rules((RepetitionPenalty(1.3), FrequencyPenalty(0.5), NoRepeat(2), Forbidden([[4]])))
    found = rules(logits, past)
    assert (found[:, 3:5] == NEVER).all()
    assert not found.isnan().any()


def test_a_prefix_is_all_there_is_until_it_is_written(logits):
    rules = Rules((NoRepeat(1), Forbidden([[4]])), prefix=(4, 4))
    past = Past.of([[1, 2]] * len(logits), logits.device)
    for _ in range(2):
        found = rules(logits, past)
        assert torch.equal(found[:, 4], logits[:, 4])
        assert (found.isfinite().sum(1) == 1).all()
        past = past.then(torch.full((len(logits),), 4))
    found = rules(logits, past)
    assert (found[:, [1, 2, 4]] == NEVER).all()
    assert found.isfinite().sum(1).tolist() == [V - 3] * len(logits)


def test_no_rules_are_false():
    assert not Rules()
    assert Rules(prefix=(1,))
    assert Rules((NoRepeat(2),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RepetitionPenalty(0.0), "repetition_penalty must be over 0, got 0.0"),
        (lambda: FrequencyPenalty(-0.1), "frequency_penalty must be 0 or more, got -0.1"),
        (lambda: NoRepeat(0), "no_repeat_ngram must be 1 or more, got 0"),
        (lambda: Forbidden([[1], []]), "forbidden has a sequence of no ids"),
    ],
)
def test_rules_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
