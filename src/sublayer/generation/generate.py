"""Ids in, hypotheses out, for models of one and of two parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sublayer.generation.beam import beam_search
from sublayer.generation.decoding import Decoding, FromPrompt, FromSource
from sublayer.generation.greedy import greedy, likeliest
from sublayer.generation.hypothesis import Hypothesis, SearchOptions, Shifted
from sublayer.generation.sample import SampleOptions, Sampler
from sublayer.generation.stopping import Stops
from sublayer.generation.walk import Choose, Watch, collect, walk
from sublayer.models.base import EncoderDecoder, LanguageModel
from sublayer.text.special import Special


@torch.inference_mode()
def generate(
    network: EncoderDecoder,
    source: Tensor,
    source_valid: Tensor | None = None,
    options: SearchOptions | None = None,
    special: Special | None = None,
) -> list[list[Hypothesis]]:
    """The best outputs for each row of source ids `b k`, best first.

    `source_valid` is `b k`, true at real tokens. No row's outputs depend on those beside it.
    """
    options, special = options or SearchOptions(), special or Special()
    lengths = (
        [source.shape[1]] * len(source) if source_valid is None else source_valid.sum(1).tolist()
    )
    limits = [options.limit(n) for n in lengths]
    if network.max_length is not None:
        # the decoder reads the start and all tokens but the last, so as many as it writes
        limits = [min(limit, network.max_length) for limit in limits]
    memory = network.encode(source, source_valid)
    return search(
        FromSource(network, memory, source_valid, special.bos), limits, options, Stops.of(special)
    )


def search(
    decoding: Decoding, limits: Sequence[int], options: SearchOptions, stops: Stops
) -> list[list[Hypothesis]]:
    """The best outputs of each row, by greedy or by beam search."""
    if options.beam == 1:
        return greedy(decoding, limits, stops, options.penalty)
    return beam_search(decoding, limits, options, stops)


def continue_ids(
    network: LanguageModel,
    prompts: Sequence[Sequence[int]],
    options: SearchOptions | SampleOptions,
    stops: Stops,
    *,
    numbers: Sequence[int] | None = None,
    watch: Watch = lambda row, token: False,
) -> list[list[Hypothesis]]:
    """What follows each prompt (ids, begin included), best first; one sample if sampled.

    Samples are drawn by the rows' `numbers`, by default their places. `watch` may end a row of what
    is written token by token, which a beam search is not. No row depends on those beside it.

    Raises:
        ValueError: a prompt is empty or longer than the model.
    """
    limits = room(network, prompts, options)
    decoding = FromPrompt(network, prompts)
    if isinstance(options, SearchOptions) and options.beam > 1:
        return beam_search(decoding, limits, options, stops)
    choose = chooser(options, prompts, numbers)
    penalty = options.penalty if isinstance(options, SearchOptions) else Shifted(0.0)
    return collect(walk(decoding, choose, limits, stops, watch), len(prompts), penalty)


def chooser(
    options: SearchOptions | SampleOptions,
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int] | None = None,
) -> Choose:
    """How a token is chosen where one text is written."""
    return likeliest if isinstance(options, SearchOptions) else Sampler(options, prompts, numbers)


def room(
    network: LanguageModel,
    prompts: Sequence[Sequence[int]],
    options: SearchOptions | SampleOptions,
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
        limit = (
            options.max_new if isinstance(options, SampleOptions) else options.limit(len(prompt))
        )
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
