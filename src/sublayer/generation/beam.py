"""Beam search, written once for every model that can `decode` with a `State`."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sublayer.generation.hypothesis import Hypothesis, SearchOptions, length_penalty
from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder
from sublayer.text.special import Special


@dataclass
class _Row:
    """One source: where it may go at most, and what has ended."""

    source: int
    limit: int
    ended: list[Hypothesis] = field(default_factory=list)

    def add(self, ids: list[int], logprob: float, alpha: float, *, ended: bool) -> None:
        length = len(ids) + ended
        self.ended.append(Hypothesis(ids, logprob, logprob / length_penalty(length, alpha), ended))

    def is_settled(self, best_alive: float, options: SearchOptions) -> bool:
        """Whether nothing still alive can enter the n best.

        Log-probabilities only fall, the penalty is largest at the limit: none can pass the bound.
        """
        if len(self.ended) < options.n_best:
            return False
        bound = best_alive / length_penalty(self.limit, options.length_penalty)
        return sorted((h.score for h in self.ended), reverse=True)[options.n_best - 1] >= bound


class _Beams:
    """The hypotheses alive: `r` rows of `w` beams, flattened to `r w` where the model sees them."""

    def __init__(
        self,
        memory: Tensor,
        source_valid: Tensor | None,
        rows: list[_Row],
        options: SearchOptions,
        special: Special,
    ) -> None:
        w, device = options.beam, memory.device
        self.options, self.special, self.rows = options, special, rows
        self.memory = memory.repeat_interleave(w, 0)
        self.source_valid = None if source_valid is None else source_valid.repeat_interleave(w, 0)
        self.tokens = torch.full((len(rows) * w, 1), special.bos, device=device)
        # only the first beam of a row lives at first: the others would be its copies
        self.logprobs = torch.full((len(rows), w), float("-inf"), device=device)
        self.logprobs[:, 0] = 0.0
        self.state = State()

    def step(self, network: EncoderDecoder) -> None:
        """One token more for every beam."""
        logits = network.decode(self.tokens[:, -1:], self.memory, self.source_valid, self.state)
        logp = logits[:, -1].float().log_softmax(-1)  # (r w) v
        logp[:, [self.special.pad, self.special.bos]] = float("-inf")
        r, w = self.logprobs.shape
        totals = (self.logprobs.view(-1, 1) + logp).view(r, -1)  # r (w v)
        # at most w of the 2 w best end here, so w are left to go on
        values, flat = totals.topk(min(2 * w, totals.shape[1]))
        beams, tokens = flat // logp.shape[1], flat % logp.shape[1]
        ends = tokens == self.special.eos
        self._collect(values, beams, ends)
        values = values.masked_fill(ends, float("-inf"))
        if values.shape[1] < w:  # a vocabulary smaller than the beam
            pad = (0, w - values.shape[1])
            values = torch.nn.functional.pad(values, pad, value=float("-inf"))
            beams, tokens = (torch.nn.functional.pad(t, pad) for t in (beams, tokens))
        self.logprobs, kept = values.topk(w)
        self._go_on(beams.gather(1, kept), tokens.gather(1, kept))

    def _collect(self, values: Tensor, beams: Tensor, ends: Tensor) -> None:
        """Hypotheses that have just ended go to their row."""
        for i, j in (ends & values.isfinite()).nonzero().tolist():
            ids = self.tokens[i * self.options.beam + int(beams[i, j]), 1:].tolist()
            self.rows[i].add(ids, float(values[i, j]), self.options.length_penalty, ended=True)

    def _go_on(self, beams: Tensor, tokens: Tensor) -> None:
        """Keep the chosen beams of the rows that are not settled."""
        w, length = self.options.beam, self.tokens.shape[1]
        best = self.logprobs[:, 0].tolist()
        going = []
        for i, row in enumerate(self.rows):
            if length >= row.limit:
                self._cut(i, beams[i], tokens[i])
            elif best[i] > float("-inf") and not row.is_settled(best[i], self.options):
                going.append(i)
        index = torch.tensor(going, dtype=torch.long, device=tokens.device)
        parents = (beams[index] + index.unsqueeze(1) * w).flatten()
        self.tokens = torch.cat([self.tokens[parents], tokens[index].view(-1, 1)], 1)
        self.logprobs = self.logprobs[index]
        self.state.reorder(parents)
        if len(going) < len(self.rows):
            self.rows = [self.rows[i] for i in going]
            self.memory = self.memory[parents]
            self.source_valid = None if self.source_valid is None else self.source_valid[parents]

    def _cut(self, i: int, beams: Tensor, tokens: Tensor) -> None:
        """The limit ends what has not ended by itself."""
        for j, logprob in enumerate(self.logprobs[i].tolist()):
            if logprob > float("-inf"):
                ids = self.tokens[i * self.options.beam + int(beams[j]), 1:].tolist()
                self.rows[i].add(
                    [*ids, int(tokens[j])], logprob, self.options.length_penalty, ended=False
                )


def beam_search(
    network: EncoderDecoder,
    memory: Tensor,
    source_valid: Tensor | None,
    limits: Tensor,
    options: SearchOptions,
    special: Special,
) -> list[list[Hypothesis]]:
    """The `n_best` hypotheses of each row of `memory` (`b k m`), best first.

    Each row has a limit of its own (`b`, tokens with the end). It is searched until nothing alive
    can enter its n best, so asking for more never changes the first.
    """
    rows = [_Row(i, limit) for i, limit in enumerate(limits.tolist())]
    beams = _Beams(memory, source_valid, rows, options, special)
    while beams.rows:
        beams.step(network)
    return [sorted(row.ended, key=lambda h: -h.score)[: options.n_best] for row in rows]
