"""Greedy search takes the likeliest token, and says how likely the model thought it."""

from __future__ import annotations

import pytest
import torch

from sublayer.generation.decoding import FromSource
from sublayer.generation.generate import generate, search
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.models.base import build
from sublayer.text.special import Special

LIMIT = 9
OPTIONS = SearchOptions(beam=1, max_length=LIMIT, length_penalty=1.0)


@torch.no_grad()
def by_hand(network, source):
    """The likeliest token, again and again, with no cache."""
    ids, logprob = [], 0.0
    for _ in range(LIMIT):
        logp = network(source, torch.tensor([[1, *ids]]))[0, -1].log_softmax(-1)
        token = 2 + int(logp[2:].argmax())
        logprob += logp[token].item()
        if token == 2:
            return ids, logprob, True
        ids.append(token)
    return ids, logprob, False


def test_equals_the_same_by_hand(network, source):
    ids, valid = source
    for row, ((found,), length) in enumerate(
        zip(generate(network, ids, valid, OPTIONS), valid.sum(1), strict=True)
    ):
        written, logprob, ended = by_hand(network, ids[row : row + 1, :length])
        assert (found.ids, found.ended) == (written, ended)
        assert found.logprob == pytest.approx(logprob, abs=1e-4)
        assert found.score == pytest.approx(logprob * 6 / (5 + len(written) + ended), abs=1e-4)


def test_a_beam_of_many_is_at_least_as_likely(network, source):
    wide = generate(network, *source, SearchOptions(beam=8, max_length=LIMIT, length_penalty=0.0))
    narrow = generate(network, *source, SearchOptions(beam=1, max_length=LIMIT, length_penalty=0.0))
    for (best,), (greedily,) in zip(wide, narrow, strict=True):
        assert best.logprob >= greedily.logprob - 1e-4


def test_each_row_has_its_own_limit(network, source):
    ids, valid = source
    limits, special = [1, 4, 2], Special()
    with torch.no_grad():
        decoding = FromSource(network, network.encode(ids, valid), valid, special.bos)
        found = search(decoding, limits, OPTIONS, Stops.of(special))
    for row, limit in enumerate(limits):
        options = SearchOptions(beam=1, max_length=limit, length_penalty=1.0)
        alone = generate(network, ids[row : row + 1], valid[row : row + 1], options)[0][0]
        assert (found[row][0].ids, found[row][0].ended) == (alone.ids, alone.ended)
        assert len(alone.ids) + alone.ended <= limit


@pytest.mark.parametrize("beam", [1, 2])
def test_no_sources_no_outputs(network, beam):
    none = torch.empty(0, 3, dtype=torch.long)
    assert generate(network, none, options=SearchOptions(beam=beam)) == []


@pytest.mark.parametrize("beam", [1, 2])
@pytest.mark.parametrize(
    "parts", [{"position": "learned"}, {"score": "location"}], ids=["learned", "location"]
)
def test_a_model_with_so_many_places_writes_no_further(parts, beam, lean):
    network = build(
        "transformer",
        vocab_size=6,
        d_model=8,
        n_layers=1,
        n_heads=2,
        d_ff=16,
        max_length=7,
        **parts,
    )
    lean(network, [2], by=-1e4)
    ((best, *_),) = generate(
        network.eval(), torch.tensor([[4, 5, 2]]), options=SearchOptions(beam=beam)
    )
    assert len(best.ids) == 7
