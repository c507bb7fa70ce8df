"""Beams as lanes of a row: the same logits as without any memory, however they part and die."""

from __future__ import annotations

import pytest
import torch

from sublayer.generation.decoding import FromPrompt, FromSource
from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder, build

KEYS = {"vocab_size": 30, "d_model": 32, "n_layers": 2, "n_heads": 4}
NETWORKS = {
    "transformer": ("transformer", {**KEYS, "d_ff": 48}),
    "grouped rotary": ("transformer", {**KEYS, "n_kv_heads": 2, "position": "rotary"}),
    "shaw": ("transformer", {**KEYS, "position": "shaw"}),
    "location": ("transformer", {**KEYS, "score": "location", "max_length": 60}),
    "t5": ("t5", {**KEYS, "d_head": 8, "d_ff": 48}),
    "gpt": ("gpt", {**KEYS, "max_length": 60}),
    "window": ("gpt", {**KEYS, "max_length": 60, "window": 5}),
    "llama": ("llama", {**KEYS, "n_kv_heads": 1}),
    "llama in a window": ("llama", {**KEYS, "window": 4}),
    "wavenet": ("wavenet", {"vocab_size": 30, "d_model": 16, "n_layers": 3, "n_stacks": 2}),
}
SOURCE = torch.tensor([[5, 9, 7, 2, 0, 0], [8, 4, 25, 22, 11, 2], [6, 2, 0, 0, 0, 0]])
PROMPTS = [[5, 9, 7, 3], [8], [4, 20, 22, 11, 6, 17, 9]]
STEPS = 34


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(1)
    family, keys = NETWORKS[request.param]
    return build(family, **keys).eval()


def begin(network):
    """A decoding, and what each text was before its first token."""
    if isinstance(network, EncoderDecoder):
        valid = SOURCE != 0
        return FromSource(network, network.encode(SOURCE, valid), valid, 1), [[1]] * len(SOURCE)
    return FromPrompt(network, PROMPTS), PROMPTS


def without_memory(network, text, ids):
    """Logits after the ids, all read anew."""
    if isinstance(network, EncoderDecoder):
        source = SOURCE[text : text + 1]
        return network(source, torch.tensor([ids]), source != 0)[0, -1]
    return network(torch.tensor([ids]))[0, -1]


@pytest.mark.parametrize("width", [1, 4])
@torch.inference_mode()
def test_every_lane_is_what_it_goes_on_from(network, width):
    random = torch.Generator().manual_seed(0)
    decoding, histories = begin(network)
    texts = list(range(len(histories)))
    logits, before = decoding.start(), 1
    for step in range(STEPS):
        for row, (history, found) in enumerate(zip(histories, logits, strict=True)):
            if step % 5 == 0 or step > STEPS - 3:
                expected = without_memory(network, texts[row // before], history)
                torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        has_ended = step == STEPS // 2  # the first text has
        kept = list(range(int(has_ended), len(texts)))
        # few are gone on from, so that many slots are seen by nobody
        lanes = torch.randint(before, (len(kept), width), generator=random)
        lanes = lanes // 2 if step % 3 else lanes
        parents = (torch.tensor(kept).unsqueeze(1) * before + lanes).flatten()
        tokens = torch.randint(3, 30, (len(parents),), generator=random)
        histories = [
            [*histories[parent], token]
            for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True)
        ]
        texts, before = [texts[i] for i in kept], width
        decoding.reorder(parents, width)
        logits = decoding.step(tokens)


@pytest.mark.parametrize("family", ["gpt", "window", "llama"])
@torch.inference_mode()
def test_prompts_as_long_as_one_another_may_be_long(family):
    """With so many slots it is time to look for some to give up as soon as lanes have begun."""
    torch.manual_seed(1)
    kind, keys = NETWORKS[family]
    network = build(kind, **keys).eval()
    prompts = torch.randint(3, 30, (2, 40)).tolist()
    decoding = FromPrompt(network, prompts)
    decoding.start()
    histories = [[*prompt, token] for prompt in prompts for token in (5, 6, 7)]
    decoding.reorder(torch.tensor([0, 0, 0, 1, 1, 1]), 3)
    for token in (5, 6, 7, 8):
        logits = decoding.step(torch.tensor([history[-1] for history in histories]))
        for history, found in zip(histories, logits, strict=True):
            expected = without_memory(network, 0, history)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            history.append(token)


@torch.inference_mode()
def test_slots_that_nobody_sees_are_given_up():
    network = build("gpt", **KEYS, max_length=200).eval()
    decoding = FromPrompt(network, [[3, 4], [5, 6]])
    decoding.start()
    decoding.reorder(torch.tensor([0, 0, 0, 1, 1, 1]), 3)
    for _ in range(100):
        decoding.step(torch.full((6,), 7))
        decoding.reorder(torch.tensor([0, 0, 0, 3, 3, 3]), 3)  # all go on from the first
    assert decoding.state.reach == 102
    assert decoding.state.seen < 1.4 * 102 + 3 * 8  # not 2 + 3 x 100


@pytest.mark.parametrize("lengths", [(2, 2), (2, 6)])
@torch.inference_mode()
def test_a_window_bounds_what_is_kept(lengths):
    network = build("gpt", **KEYS, max_length=200, window=6).eval()
    decoding = FromPrompt(network, [[3] * n for n in lengths])
    decoding.start()
    most = 0
    for _ in range(100):
        decoding.step(torch.full((2,), 7))
        most = max(most, decoding.state.seen)
    assert most <= 3 * 6


def test_a_lone_lane_cannot_come_of_another():
    state = State()
    with pytest.raises(AssertionError, match="one lane as yet"):
        state.branch(torch.tensor([[0, 1]]))
