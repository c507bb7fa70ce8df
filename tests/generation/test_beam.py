"""Beam search finds what enumeration finds, and its scores are the model's own."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch

from sublayer.generation.decoding import FromSource
from sublayer.generation.generate import continue_ids, generate, search
from sublayer.generation.hypothesis import (
    Groups,
    Hypothesis,
    Power,
    SearchOptions,
    Shifted,
    length_penalty,
)
from sublayer.generation.stopping import Stops
from sublayer.models.base import build
from sublayer.text.special import Special

SPECIAL = Special()
WRITTEN = (3, 4, 5)  # what may be produced but for the end
WHOLE = 128  # beams: more than there are hypotheses of up to four tokens


def next_logprobs(network, source, ids):
    """Teacher forcing: log-probabilities of what follows `ids`."""
    return network(source, torch.tensor([[1, *ids]]))[0, -1].log_softmax(-1).tolist()


def hypothesis(ids, logprob, alpha, ended):
    return Hypothesis(ids, logprob, logprob / length_penalty(len(ids) + ended, alpha), ended)


def best_first(found):
    return sorted(found, key=lambda h: -h.score)


@torch.no_grad()
def enumerate_all(network, source, limit, alpha):
    """Every hypothesis of at most `limit` tokens, the end included."""
    found, alive = [], [([], 0.0)]
    for length in range(1, limit + 1):
        longer = []
        for ids, logprob in alive:
            logp = next_logprobs(network, source, ids)
            found.append(hypothesis(ids, logprob + logp[SPECIAL.eos], alpha, ended=True))
            longer += [([*ids, token], logprob + logp[token]) for token in WRITTEN]
        alive = longer
        if length == limit:
            found += [hypothesis(ids, logprob, alpha, ended=False) for ids, logprob in alive]
    return best_first(found)


@torch.no_grad()
def plain_beam_search(network, source, limit, alpha, width, enough=math.inf):
    """Beam search on lists, up to the limit or until so many have ended."""
    found, alive = [], [([], 0.0)]
    for _ in range(limit):
        if len(found) >= enough:
            return best_first(found)
        candidates = []
        for ids, logprob in alive:
            logp = next_logprobs(network, source, ids)
            candidates += [(ids, token, logprob + logp[token]) for token in (SPECIAL.eos, *WRITTEN)]
        candidates = sorted(candidates, key=lambda c: -c[2])[: 2 * width]
        found += [
            hypothesis(ids, lp, alpha, ended=True)
            for ids, token, lp in candidates
            if token == SPECIAL.eos
        ]
        alive = [([*ids, token], lp) for ids, token, lp in candidates if token != SPECIAL.eos][
            :width
        ]
    return best_first(found + [hypothesis(ids, lp, alpha, ended=False) for ids, lp in alive])


def assert_same(found, expected):
    assert [(h.ids, h.ended) for h in found] == [(h.ids, h.ended) for h in expected]
    for got, wanted in zip(found, expected, strict=True):
        assert (got.logprob, got.score) == pytest.approx((wanted.logprob, wanted.score), abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("limit", [1, 2, 4])
def test_a_beam_as_wide_as_the_space_finds_everything_in_order(network, source, limit, alpha):
    expected = enumerate_all(network, source[0][:1], limit, alpha)
    options = SearchOptions(beam=WHOLE, length_penalty=alpha, max_length=limit, n_best=WHOLE)
    assert_same(generate(network, source[0][:1], options=options)[0], expected)


@pytest.mark.parametrize("n_best", [1, 2])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("width", [2, 3, 7])
def test_a_narrow_beam_finds_what_plain_beam_search_finds(network, source, width, alpha, n_best):
    expected = plain_beam_search(network, source[0][:1], 8, alpha, width)[:n_best]
    options = SearchOptions(beam=width, length_penalty=alpha, max_length=8, n_best=n_best)
    assert_same(generate(network, source[0][:1], options=options)[0], expected)


def test_scores_are_teacher_forced_logprobs_over_the_penalty(network, source):
    ids, valid = source
    options = SearchOptions(beam=4, length_penalty=0.6, max_length=6, n_best=4)
    for row, found in enumerate(generate(network, ids, valid, options)):
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        for h in found:
            written = [*h.ids, SPECIAL.eos] if h.ended else h.ids
            logits = network(
                ids[row : row + 1], torch.tensor([[1, *written[:-1]]]), valid[row : row + 1]
            )
            at = logits[0].log_softmax(-1)[range(len(written)), written]
            assert h.logprob == pytest.approx(at.sum().item(), abs=1e-4)
            assert h.score == pytest.approx(h.logprob / ((5 + len(written)) / 6) ** 0.6)


@pytest.mark.parametrize("patience", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_with_patience_a_search_ends_when_enough_have_ended(network, source, alpha, patience):
    options = SearchOptions(4, alpha, max_length=9, n_best=2, patience=patience)
    for i, found in enumerate(generate(network, *source, options)):
        row = source[0][i : i + 1, : int(source[1][i].sum())]
        expected = plain_beam_search(network, row, 9, alpha, 4, enough=4 * patience)
        assert_same(found, expected[:2])


def test_with_patience_a_group_that_has_enough_takes_no_more():
    """While another waits for its share: a case in which more would be better than its first."""
    torch.manual_seed(21)
    network = build("gpt", "tiny", vocab_size=7).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(3)
    options = SearchOptions(6, 0.6, max_length=12, groups=Groups(3), patience=2.0)
    firsts = [
        continue_ids(network, [[1, 3]], replace(options, n_best=n), Stops((2,), (0, 1)))[0][0].ids
        for n in range(1, 7)
    ]
    assert firsts == firsts[:1] * 6


@pytest.mark.parametrize("beam", [1, 3])
def test_a_model_that_gives_no_numbers_is_told(network, source, lean, beam):
    lean(network, [4], math.nan)
    with pytest.raises(ValueError, match=re.escape("the model gives no numbers (NaN)")):
        generate(network, *source, SearchOptions(beam=beam, max_length=4))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_asking_for_more_never_changes_the_first(network, source, alpha):
    def search(n):
        options = SearchOptions(beam=5, length_penalty=alpha, max_length=12, n_best=n)
        return generate(network, *source, options)

    many = search(5)
    for n in (1, 2, 3):
        for fewer, found in zip(search(n), many, strict=True):
            assert_same(fewer, found[:n])


@pytest.mark.parametrize("beam", [1, 3])
def test_a_row_does_not_depend_on_its_neighbours(network, source, beam):
    ids, valid = source
    options = SearchOptions(beam=beam, n_best=beam, max_length=9)
    together = generate(network, ids, valid, options)
    for row, length in enumerate(valid.sum(1).tolist()):
        alone = generate(network, ids[row : row + 1, :length], options=options)
        assert_same(together[row], alone[0])


@pytest.mark.parametrize("beam", [2, 4])
def test_each_row_has_its_own_limit(network, source, beam):
    ids, valid = source
    options, limits = SearchOptions(beam=beam, n_best=beam), [1, 5, 3]
    with torch.no_grad():
        decoding = FromSource(network, network.encode(ids, valid), valid, SPECIAL.bos)
        found = search(decoding, limits, options, Stops.of(SPECIAL))
    for row, (hypotheses, limit) in enumerate(zip(found, limits, strict=True)):
        assert max(len(h.ids) + h.ended for h in hypotheses) <= limit
        alone = SearchOptions(beam=beam, n_best=beam, max_length=limit)
        assert_same(
            hypotheses, generate(network, ids[row : row + 1], valid[row : row + 1], alone)[0]
        )


def test_what_the_limit_cuts_has_no_end(network, source, lean):
    lean(network, [SPECIAL.eos], by=-1e4)
    for found in generate(network, *source, SearchOptions(beam=3, n_best=3, max_length=4)):
        assert [(len(h.ids), h.ended) for h in found] == [(4, False)] * 3


@pytest.mark.parametrize("beam", [1, 3])
def test_the_limit_follows_the_source_by_default(network, source, lean, beam):
    lean(network, [SPECIAL.eos], by=-1e4)
    found = generate(network, *source, SearchOptions(beam=beam))
    assert [len(hypotheses[0].ids) for hypotheses in found] == [55, 52, 53]


@pytest.mark.parametrize("beam", [1, 4])
def test_padding_and_begin_are_never_written(network, source, lean, beam):
    lean(network, [SPECIAL.pad, SPECIAL.bos], by=20.0)
    for hypotheses in generate(
        network, *source, SearchOptions(beam=beam, n_best=beam, max_length=6)
    ):
        for h in hypotheses:
            assert not {SPECIAL.pad, SPECIAL.bos, SPECIAL.eos} & set(h.ids)
            assert h.logprob < -10  # their probability is not given to the others


@pytest.mark.parametrize("beam", [1, 3])
def test_rows_that_end_leave_the_batch(network, source, beam):
    ids, valid = source
    rows = []
    network.decoder.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    with torch.no_grad():
        generate(network, ids, valid, SearchOptions(beam=beam))
    assert rows[0] == 3  # no beams before there are tokens to tell them apart
    assert rows[1] <= 3 * beam
    assert rows[1:] == sorted(rows[1:], reverse=True)
    assert rows[-1] < 3 * beam


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 2, "n_best": 3}, "n_best 3 must lie between 1 and the beam, 2"),
        ({"beam": 2, "n_best": 0}, "n_best 0 must lie between 1 and the beam, 2"),
        ({"beam": 0}, "n_best 1 must lie between 1 and the beam, 0"),
        ({"length_penalty": -0.5}, "length_penalty must be 0 or more, got -0.5"),
        ({"length_penalty": math.nan}, "length_penalty must be 0 or more, got nan"),
        ({"length_penalty": Power(0.0), "max_length": 0}, "max_length must be 1 or more, got 0"),
        ({"max_length": 0}, "max_length must be 1 or more, got 0"),
        (
            {"beam": 4, "n_best": 3, "patience": 0.5},
            "patience 0.5 waits for 2 hypotheses of a beam of 4, but n_best is 3: raise patience",
        ),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SearchOptions(**options)


def test_a_power_of_the_length_refuses_what_falls():
    with pytest.raises(ValueError, match="length_penalty must be 0 or more, got -1"):
        Power(-1.0)


def test_a_number_is_the_shifted_penaltys():
    assert SearchOptions(length_penalty=0.7).penalty == Shifted(0.7)
    assert SearchOptions(length_penalty=Power(0.7)).penalty == Power(0.7)
    assert Power(2.0)(3) == 9
    assert Shifted(1.0)(7) == 2


def test_the_penalty_is_the_papers():
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(7, 1.0) == 2
    assert length_penalty(100, 0.0) == 1
