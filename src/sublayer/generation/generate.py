"""Ids in, hypotheses out, for models of one and of two parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sublayer.generation.beam import beam_search
from sublayer.generation.decoding import Decoding, FromPrompt, FromSource
from sublayer.generation.greedy import likeliest
from sublayer.generation.hypothesis import Hypothesis, Searching, SearchOptions, Shifted
from sublayer.generation.pieces import Pieces
from sublayer.generation.sample import SampleOptions, Sampler, Stream
from sublayer.generation.stopping import Stops
from sublayer.generation.walk import Choose, collect, walking
from sublayer.models.base import EncoderDecoder, LanguageModel
from sublayer.text.special import Special

Options = SearchOptions | SampleOptions


@torch.inference_mode()
def generate(
    network: EncoderDecoder,
    source: Tensor,
    source_valid: Tensor | None = None,
    options: Options | None = None,
    special: Special | None = None,
    *,
    streams: Sequence[Stream] = (),
    pieces: Sequence[Pieces] = (),
) -> list[list[Hypothesis]]:
    """The best outputs for each row of source ids `b k`, best first; one sample if sampled.

    `source_valid` is `b k`, true at real tokens. No row's outputs depend on those beside it.
    `streams` and `pieces` are as in `search`.
    """
    options, special = options or SearchOptions(), special or Special()
    decoding, limits = read_source(network, source, source_valid, options, special.bos)
    return search(decoding, limits, options, Stops.of(special), streams=streams, pieces=pieces)


def read_source(
    network: EncoderDecoder,
    source: Tensor,
    source_valid: Tensor | None,
    options: Options,
    start: int,
) -> tuple[FromSource, list[int]]:
    """The decoding of source ids `b k`, and how many tokens each output may have."""
    lengths = (
        [source.shape[1]] * len(source) if source_valid is None else source_valid.sum(1).tolist()
    )
    limits = [options.limit(n) for n in lengths]
    if network.max_length is not None:
        # the decoder reads the start and all tokens but the last, so as many as it writes
        limits = [min(limit, network.max_length) for limit in limits]
    memory = network.encode(source, source_valid)
    return FromSource(network, memory, source_valid, start), limits


@torch.inference_mode()
def search(
    decoding: Decoding,
    limits: Sequence[int],
    options: Options,
    stops: Stops,
    *,
    prompts: Sequence[Sequence[int]] = (),
    streams: Sequence[Stream] = (),
    pieces: Sequence[Pieces] = (),
) -> list[list[Hypothesis]]:
    """The best outputs of each row, by greedy or beam search or by sampling.

    Rules see the `prompts` too. Samples are drawn from the rows' `streams`, by default those of
    their places. `pieces` read what each row writes: it ends where they meet a stop string.

    Raises:
        ValueError: the prefix of the options is longer than an output may be.
    """
    steps = searching(
        decoding, limits, options, stops, prompts=prompts, streams=streams, pieces=pieces
    )
    try:
        tokens = next(steps)
        while True:
            tokens = steps.send(decoding.step(tokens))
    except StopIteration as end:
        found: list[list[Hypothesis]] = end.value
        return found


def searching(
    decoding: Decoding,
    limits: Sequence[int],
    options: Options,
    stops: Stops,
    *,
    prompts: Sequence[Sequence[int]] = (),
    streams: Sequence[Stream] = (),
    pieces: Sequence[Pieces] = (),
) -> Searching:
    """A `search` that leaves the steps of the model to who asks for it.

    Raises:
        ValueError: the prefix of the options is longer than an output may be.
    """
    prefix = len(options.rules.prefix)
    if limits and prefix > min(limits):
        raise ValueError(f"prefix has {prefix} tokens, but an output may have {min(limits)}")
    if isinstance(options, SearchOptions) and options.beam > 1:
        return beam_search(decoding, limits, options, stops, prompts=prompts, pieces=pieces)

    def watch(row: int, token: int) -> bool:
        if pieces:
            pieces[row].push(token)
        return bool(pieces) and pieces[row].stopped

    choose = chooser(options, len(limits), streams)
    penalty = options.penalty if isinstance(options, SearchOptions) else Shifted(0.0)
    steps = walking(decoding, choose, limits, stops, options.rules, prompts, watch)
    return collect(steps, len(limits), penalty)


def continue_ids(
    network: LanguageModel,
    prompts: Sequence[Sequence[int]],
    options: Options,
    stops: Stops,
    *,
    streams: Sequence[Stream] = (),
    pieces: Sequence[Pieces] = (),
) -> list[list[Hypothesis]]:
    """What follows each prompt (ids, begin included), best first; one sample if sampled.

    `streams` and `pieces` are as in `search`. No row depends on those beside it.

    Raises:
        ValueError: a prompt is empty or longer than the model.
    """
    limits, decoding = room(network, prompts, options), FromPrompt(network, prompts)
    return search(decoding, limits, options, stops, prompts=prompts, streams=streams, pieces=pieces)


def chooser(options: Options, n_rows: int, streams: Sequence[Stream] = ()) -> Choose:
    """How a token is chosen where one text is written."""
    if isinstance(options, SearchOptions):
        return likeliest
    return Sampler(options, streams or options.streams(range(n_rows)))


def asked(options: Options, n: int) -> tuple[Options, int]:
    """The options for `n` outputs of each row, and how many times each is drawn.

    Raises:
        ValueError: `n` is more than the beam.
    """
    if isinstance(options, SearchOptions):
        return replace(options, n_best=n), 1
    return options.seeded(), n


def streams_of(options: Options, draws: Sequence[tuple[int, int]]) -> list[Stream]:
    """What rows draw from, each by its number and which of its draws it is; nothing in a search."""
    if not isinstance(options, SampleOptions):
        return []
    return [options.streams([row], draw)[0] for row, draw in draws]


def room(
    network: LanguageModel,
    prompts: Sequence[Sequence[int]],
    options: Options,
) -> list[int]:
    """How many tokens each prompt may be followed by, the end included.

    Raises:
        ValueError: a prompt is empty or longer than the model.
    """
    limits = []
    for number, prompt in enumerate(prompts, 1):
        if not prompt:
            raise ValueError(
                f"prompt {number} is empty, and the vocabulary has no begin to put in its place"
            )
        limit = options.limit(len(prompt))
        if network.max_length is not None:
            # the last token is written, but not read
            limit = min(limit, network.max_length + 1 - len(prompt))
        if limit < 1:
            raise ValueError(
                f"prompt {number} has {len(prompt)} tokens, but the model reads "
                f"{network.max_length}; shorten it"
            )
        limits.append(limit)
    return limits
