"""Greedy search: the likeliest token at every step."""

from __future__ import annotations

import torch
from torch import Tensor

from sublayer.generation.hypothesis import Hypothesis, length_penalty
from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder
from sublayer.text.special import Special


def greedy(
    network: EncoderDecoder,
    memory: Tensor,
    source_valid: Tensor | None,
    limits: Tensor,
    alpha: float,
    special: Special,
) -> list[list[Hypothesis]]:
    """One hypothesis a row of `memory` (`b k m`).

    Each row has its own limit (`b`, tokens with the end). Rows that have ended leave the batch.
    """
    b, device = memory.shape[0], memory.device
    found: list[list[Hypothesis]] = [[] for _ in range(b)]
    rows = torch.arange(b, device=device)  # which source a row of the shrinking batch belongs to
    tokens = torch.full((b, 1), special.bos, device=device)
    logprobs = torch.zeros(b, device=device)
    state = State()
    while len(rows):
        logits = network.decode(tokens[:, -1:], memory, source_valid, state)
        # the model's own, so before anything is ruled out
        logp = logits[:, -1].float().log_softmax(-1)
        logp[:, [special.pad, special.bos]] = float("-inf")
        best, token = logp.max(-1)
        logprobs = logprobs + best
        tokens = torch.cat([tokens, token.unsqueeze(1)], 1)
        length = tokens.shape[1] - 1
        ended = token == special.eos
        over = ended | (length >= limits[rows])
        if not over.any():
            continue
        for i in over.nonzero().flatten().tolist():
            ids, logprob, by_itself = tokens[i, 1:].tolist(), float(logprobs[i]), bool(ended[i])
            score = logprob / length_penalty(length, alpha)
            found[int(rows[i])] = [
                Hypothesis(ids[:-1] if by_itself else ids, logprob, score, by_itself)
            ]
        going = (~over).nonzero().flatten()
        rows, tokens, logprobs, memory = rows[going], tokens[going], logprobs[going], memory[going]
        source_valid = None if source_valid is None else source_valid[going]
        state.reorder(going)
    return found
