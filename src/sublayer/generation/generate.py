"""Sources in, hypotheses out."""

from __future__ import annotations

import torch
from torch import Tensor

from sublayer.generation.beam import beam_search
from sublayer.generation.greedy import greedy
from sublayer.generation.hypothesis import Hypothesis, SearchOptions
from sublayer.models.base import EncoderDecoder
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
    memory = network.encode(source, source_valid)
    lengths = (
        source_valid.sum(1)
        if source_valid is not None
        else torch.full((len(source),), source.shape[1])
    )
    limits = torch.tensor([options.limit(n) for n in lengths.tolist()], device=source.device)
    if network.max_length is not None:
        # the decoder reads the start and all tokens but the last, so as many as it writes
        limits = limits.clamp(max=network.max_length)
    if options.beam == 1:
        return greedy(network, memory, source_valid, limits, options.length_penalty, special)
    return beam_search(network, memory, source_valid, limits, options, special)
