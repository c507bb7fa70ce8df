"""The best of all continuations of some beams, without sorting whole vocabularies."""

from __future__ import annotations

import torch
from torch import Tensor

from sublayer import loops
from sublayer.generation.logits import NEVER

SLICES = 16
"""Slices of a vocabulary that are laid one on another: one pass finds the best of each place."""
FEWEST = 64
"""Places of all beams for each continuation wanted, from which on that is the faster way."""


def from_logits(
    totals: Tensor, logits: Tensor, never: Tensor, wanted: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`best_continuations` by logits `(r c) v`, without the tokens that may `never` be written."""
    if loops.are_for(logits):
        from sublayer.loops import choose

        given = totals.contiguous().numpy(), logits.contiguous().numpy(), never.numpy()
        values, flat = map(torch.from_numpy, choose.best_continuations(*given, wanted))
        v = logits.shape[1]
        return values, flat // v, flat % v
    logp = logits.log_softmax(-1).index_fill_(1, never, NEVER)
    return best_continuations(totals, logp.view(*totals.shape, -1), wanted)


def best_continuations(totals: Tensor, logp: Tensor, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `wanted` largest of `totals` (`r c`) and `logp` (`r c v`) added up, best first.

    What they add up to, whose beams and which tokens they are, `r k` each; fewer than wanted where
    there are not so many. `topk` of all takes as long as the product that makes the logits, so the
    vocabulary is cut into slices: only where the largest over all slices are best can the best
    tokens stand.
    """
    c, v = logp.shape[1:]
    places = -(-v // SLICES)
    rest = v - (SLICES - 1) * places  # of the last slice
    if c * places < FEWEST * wanted or rest < 1:
        # the best of all are among the best of each beam, and these are fewer to add up
        logp, tokens = logp.topk(min(wanted, v))  # r c k
        n = logp.shape[2]
        values, flat = (totals.unsqueeze(2) + logp).flatten(1).topk(min(wanted, c * n))
        return values, flat // n, tokens.flatten(1).gather(1, flat)
    whole = logp[..., : v - rest].unflatten(2, (SLICES - 1, places)).amax(2)  # r c p
    whole[..., :rest] = torch.maximum(whole[..., :rest], logp[..., v - rest :])
    _, flat = (totals.unsqueeze(2) + whole).flatten(1).topk(wanted, sorted=False)
    beams, place = flat // places, flat % places  # r k
    slices = torch.arange(SLICES, device=logp.device) * places
    tokens = place.unsqueeze(2) + slices  # r k s
    is_token = tokens < v
    tokens = tokens.clamp_max(v - 1)
    at = (beams.unsqueeze(2) * v + tokens).flatten(1)
    own = logp.flatten(1).gather(1, at).view_as(tokens)
    sums = (totals.gather(1, beams).unsqueeze(2) + own).masked_fill(~is_token, -torch.inf)
    values, flat = sums.flatten(1).topk(wanted)
    return values, beams.gather(1, flat // SLICES), tokens.flatten(1).gather(1, flat)
