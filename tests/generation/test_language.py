"""A language model goes on from texts: in order, whatever the batches, streamed or at once."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from sublayer.config.schema import TokenizerSide
from sublayer.generation.generate import continue_ids
from sublayer.generation.hypothesis import Power, SearchOptions
from sublayer.generation.language import Continuer
from sublayer.generation.logits import Forbidden, NoRepeat, RepetitionPenalty, Rules
from sublayer.generation.sample import SampleOptions
from sublayer.generation.stopping import Stops
from sublayer.generation.streaming import stream
from sublayer.models.base import build
from sublayer.text.tokenizer import Tokenizer

PROMPTS = ["abc", "", "cab bac a", "a", "abcabcabc", "cc"]
LETTERS = Tokenizer.train(TokenizerSide(kind="characters"), ["abc", "cab bac a"])
BYTES = Tokenizer.train(TokenizerSide(kind="bpe", vocab_size=264), ["abc cab", "ab ab"])
SAMPLE = SampleOptions(seed=3, max_new=9)
SEARCHES = {
    "greedy": SearchOptions(beam=1, max_length=9),
    "beam": SearchOptions(beam=3, max_length=9, length_penalty=Power(2.0)),
    "sample": SAMPLE,
    "sample narrowly": replace(
        SAMPLE, temperature=0.8, top_k=5, rules=Rules((RepetitionPenalty(1.2),))
    ),
}
FAMILIES = {
    "gpt": {"n_heads": 4, "max_length": 40, "dropout": 0.0, "tied": False},
    "llama": {"n_heads": 4, "n_kv_heads": 2, "d_ff": 24, "window": 4},
    "wavenet": {"n_stacks": 2},
}


def make(family, tokenizer, **keys):
    torch.manual_seed(1)
    network = build(
        family,
        vocab_size=tokenizer.vocab_size,
        **{"d_model": 16, "n_layers": 2} | FAMILIES[family] | keys,
    ).eval()
    for weight in network.parameters():
        if weight.ndim == 2:  # large, so that what is written depends on what stands before
            torch.nn.init.normal_(weight, std=0.5)
    return network


@pytest.fixture(params=FAMILIES)
def network(request):
    return make(request.param, LETTERS)


@pytest.fixture(params=SEARCHES)
def options(request):
    return SEARCHES[request.param]


@torch.no_grad()
def teacher_forced(network, prompt, written):
    logp = network(torch.tensor([[*prompt, *written]]))[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(written) - 1)
    return logp[places, written].sum().item()


def encode(prompt):
    return [1, *LETTERS.encode(prompt)]


def test_scores_are_teacher_forced_logprobs(network, options):
    continuer = Continuer(network, LETTERS, options)
    for prompt, (found,) in zip(PROMPTS, continuer.n_best(PROMPTS, 1), strict=True):
        written = [*found.ids, 2] if found.ended else found.ids
        assert found.logprob == pytest.approx(
            teacher_forced(network, encode(prompt), written), abs=1e-4
        )
        assert found.text == LETTERS.decode(found.ids)


def test_each_prompt_gets_its_own_text_whatever_the_batches(network, options):
    expected = Continuer(network, LETTERS, options)(PROMPTS)
    assert len(set(expected)) > 1
    for batch_tokens in (1, 40, 100_000):
        continuer = Continuer(network, LETTERS, options, batch_tokens=batch_tokens)
        assert continuer(PROMPTS) == expected
    if isinstance(options, SearchOptions):
        for prompt, text in zip(PROMPTS, expected, strict=True):
            assert Continuer(network, LETTERS, options)([prompt]) == [text]


@torch.no_grad()
def test_greedy_equals_the_same_by_hand_with_no_cache(network):
    found = Continuer(network, LETTERS, SEARCHES["greedy"]).n_best(PROMPTS, 1)
    for prompt, (continuation,) in zip(PROMPTS, found, strict=True):
        ids = encode(prompt)
        for _ in range(9):
            ids.append(2 + int(network(torch.tensor([ids]))[0, -1, 2:].argmax()))
            if ids[-1] == 2:
                break
        assert [*encode(prompt), *continuation.ids] == ids[: -1 if ids[-1] == 2 else None]


def test_no_temperature_is_greedy(network):
    cold = Continuer(network, LETTERS, SampleOptions(temperature=0.0, max_new=9))
    assert cold(PROMPTS) == Continuer(network, LETTERS, SEARCHES["greedy"])(PROMPTS)


@torch.no_grad()
def plain_beam_search(network, prompt, limit, width, penalty, *, strict):
    """On lists, to the very end, with no cache."""
    found, alive = [], [([], 0.0)]
    for length in range(1, limit + 1):
        candidates = []
        for ids, logprob in alive:
            logp = network(torch.tensor([[*prompt, *ids]]))[0, -1].log_softmax(-1).tolist()
            candidates += [(ids, t, logprob + logp[t]) for t in range(2, len(logp))]
        candidates = sorted(candidates, key=lambda c: -c[2])[: 2 * width]
        ending = candidates[:width] if strict else candidates
        found += [(ids, lp / penalty(length)) for ids, t, lp in ending if t == 2]
        alive = [([*ids, t], lp) for ids, t, lp in candidates if t != 2][:width]
    found += [(ids, lp / penalty(limit)) for ids, lp in alive]
    return sorted(found, key=lambda f: -f[1])


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("penalty", [Power(0.0), Power(1.3)])
def test_beam_search_finds_what_plain_beam_search_finds(network, penalty, strict):
    options = SearchOptions(3, penalty, 7, n_best=3, strict_ends=strict)
    prompts = [encode(prompt) for prompt in PROMPTS]
    for prompt, found in zip(
        prompts, continue_ids(network, prompts, options, Stops((2,), (0, 1))), strict=True
    ):
        expected = plain_beam_search(network, prompt, 7, 3, penalty, strict=strict)[:3]
        assert [h.ids for h in found] == [ids for ids, _ in expected]
        assert [h.score for h in found] == pytest.approx([s for _, s in expected], abs=1e-4)


def test_several_samples_differ_and_the_first_is_that_of_a_call(network):
    warm = replace(SAMPLE, max_new=20, temperature=1.5)
    continuer = Continuer(network, LETTERS, warm)
    found = continuer.n_best(PROMPTS, 3)
    assert [row[0].text for row in found] == continuer(PROMPTS)
    fewer = continuer.n_best(PROMPTS, 2)
    assert [[c.ids for c in row] for row in fewer] == [[c.ids for c in row[:2]] for row in found]
    continuer.stops = Stops()  # so that all are long enough to differ
    alike = continuer.n_best(["abc"] * 4, 4)
    assert len({tuple(c.ids) for row in alike for c in row}) == 16


def test_n_best_are_in_order(network):
    for found in Continuer(network, LETTERS, SEARCHES["beam"]).n_best(PROMPTS, 3):
        assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
        assert len({tuple(c.ids) for c in found}) == 3


@pytest.mark.parametrize("tokenizer", [LETTERS, BYTES], ids=["characters", "bpe"])
@pytest.mark.parametrize("stop", [(), ("b",), ("ab", "ca", "cb")], ids=str)
def test_streamed_pieces_join_to_what_comes_at_once(tokenizer, stop):
    network = make("llama", tokenizer)
    options = SampleOptions(seed=4, max_new=25, stop=stop)
    continuer = Continuer(network, tokenizer, options)
    (text,) = continuer(["ab c"])
    pieces = list(continuer.stream("ab c"))
    assert "".join(pieces) == text
    assert all(pieces)
    assert not any(string in text for string in stop)


def test_a_greedy_search_streams_too(network):
    continuer = Continuer(network, LETTERS, SEARCHES["greedy"])
    assert [["".join(continuer.stream(prompt))] for prompt in PROMPTS] == [
        [text] for text in continuer(PROMPTS)
    ]


def test_text_comes_while_it_is_written(network):
    steps = []
    network.stack.register_forward_pre_hook(lambda module, given: steps.append(1))
    pieces = Continuer(network, LETTERS, SAMPLE).stream("abc")
    next(pieces)
    assert len(steps) <= 1
    list(pieces)
    assert len(steps) > 1


def test_a_stop_string_ends_the_row_and_no_other(network):
    free = Continuer(network, LETTERS, replace(SAMPLE, max_new=20)).n_best(PROMPTS, 1)
    stopping = Continuer(network, LETTERS, replace(SAMPLE, max_new=20, stop=("a", "cb")))
    stopped = stopping.n_best(PROMPTS, 1)
    for (whole,), (found,) in zip(free, stopped, strict=True):
        ends = [whole.text.find(s) for s in ("a", "cb") if s in whole.text]
        assert found.text == (whole.text[: min(ends)] if ends else whole.text)
        assert whole.ids[: len(found.ids)] == found.ids
        if ends:
            assert found.ended
            assert LETTERS.decode(found.ids).endswith(("a", "cb"))
    assert any(len(f[0].ids) < len(w[0].ids) for f, w in zip(stopped, free, strict=True))


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_a_search_stops_at_a_string_too(network, name):
    options = replace(SEARCHES[name], stop=("a", "cb"))
    free = Continuer(network, LETTERS, SEARCHES[name])(PROMPTS)
    continuer = Continuer(network, LETTERS, options)
    assert any("a" in text or "cb" in text for text in free)
    assert not any("a" in text or "cb" in text for text in continuer(PROMPTS))
    if name == "greedy":
        assert ["".join(continuer.stream(prompt)) for prompt in PROMPTS] == continuer(PROMPTS)


@pytest.mark.parametrize("options", [SEARCHES["greedy"], SAMPLE], ids=["greedy", "sample"])
def test_what_is_streamed_keeps_to_the_rules(network, options):
    rules = Rules((NoRepeat(2), Forbidden([LETTERS.encode("b")])), tuple(LETTERS.encode("ca")))
    continuer = Continuer(network, LETTERS, replace(options, rules=rules))
    for prompt, text in zip(PROMPTS, continuer(PROMPTS), strict=True):
        assert text.startswith("ca")
        assert "b" not in text
        if prompt == PROMPTS[0] or options is not SAMPLE:  # further rows draw by their places
            assert "".join(continuer.stream(prompt)) == text


def test_a_model_with_so_many_places_writes_no_further(network):
    network = make("gpt", LETTERS, max_length=7)
    stops = Stops((), (0, 1, 2))
    for options in (SampleOptions(seed=0), SearchOptions(beam=3), SearchOptions(beam=1)):
        found = continue_ids(network, [[1, 5, 6], [1], [1] * 7], options, stops)
        assert [len(row[0].ids) for row in found] == [5, 7, 1]


def test_a_prompt_that_is_longer_than_the_model_is_refused():
    continuer = Continuer(make("gpt", LETTERS, max_length=7), LETTERS, SAMPLE)
    message = "prompt 2 has 10 tokens, but the model reads 7; shorten it"
    with pytest.raises(ValueError, match=message):
        continuer(["a", "abcabcabc"])
    with pytest.raises(ValueError, match="prompt 1 has 10 tokens"):
        continuer.stream("abcabcabc")


def test_an_empty_prompt_needs_a_begin(network):
    bare = SimpleNamespace(
        special=SimpleNamespace(pad=None, bos=None, eos=None),
        opening=(),
        encode=LETTERS.encode,
        decode=LETTERS.decode,
    )
    continuer = Continuer(network, bare, replace(SAMPLE, max_new=5))
    with pytest.raises(ValueError, match="prompt 2 is empty, and the vocabulary has no begin"):
        continuer(["a", ""])
    (found,) = continuer.n_best(["a"], 1)[0]
    assert len(found.ids) == 5  # and without an end, the limit is the end
    assert not found.ended


def test_what_does_not_go_together_is_refused(network):
    with pytest.raises(ValueError, match="a beam search knows its text at the end only"):
        Continuer(network, LETTERS, SEARCHES["beam"]).stream("abc")
    with pytest.raises(ValueError, match="n_best 4 must lie between 1 and the beam, 3"):
        Continuer(network, LETTERS, SEARCHES["beam"]).n_best(PROMPTS, 4)
    with pytest.raises(ValueError, match="give a list of prompts, not one prompt"):
        Continuer(network, LETTERS, SAMPLE)("abc")


def test_progress_hears_of_every_prompt(network):
    heard = []
    Continuer(network, LETTERS, SAMPLE, batch_tokens=30).n_best(PROMPTS, 1, heard.append)
    assert sum(heard) == len(PROMPTS)
    assert len(heard) > 1


def test_no_prompts_no_texts(network):
    assert Continuer(network, LETTERS)([]) == []
    for options in SEARCHES.values():
        assert continue_ids(network, [], options, Stops()) == []


def test_ids_can_be_streamed_without_a_tokenizer(network):
    pieces = stream(
        network,
        [1, 5],
        SampleOptions(seed=2, max_new=6),
        lambda ids: "".join(chr(97 + id) for id in ids),
        Stops((), (0, 1)),
    )
    (found,) = continue_ids(network, [[1, 5]], SampleOptions(seed=2, max_new=6), Stops((), (0, 1)))
    assert "".join(pieces) == "".join(chr(97 + id) for id in found[0].ids)
