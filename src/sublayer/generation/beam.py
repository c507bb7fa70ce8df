"""Beam search, written once for every model with a `Decoding`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from sublayer.generation.decoding import Decoding
from sublayer.generation.hypothesis import Hypothesis, LengthPenalty, SearchOptions
from sublayer.generation.stopping import Stops


@dataclass
class _Row:
    """One text to be written: how long it may get, and what has ended."""

    limit: int
    penalty: LengthPenalty
    ended: list[Hypothesis] = field(default_factory=list)

    def add(self, ids: list[int], logprob: float, *, ended: bool) -> None:
        score = logprob / self.penalty(len(ids) + ended)
        self.ended.append(Hypothesis(ids, logprob, score, ended))

    def is_settled(self, best_alive: float, n_best: int) -> bool:
        """Whether nothing still alive can enter the n best.

        Log-probabilities only fall, the penalty is largest at the limit: none can pass the bound.
        """
        if len(self.ended) < n_best:
            return False
        bound = best_alive / self.penalty(self.limit)
        return sorted((h.score for h in self.ended), reverse=True)[n_best - 1] >= bound


class _Beams:
    """The hypotheses alive: `r` rows of `c` beams, flattened to `r c` where the model sees them.

    A row begins as one beam, which the first step turns into `w`, the width of the search.
    """

    def __init__(
        self,
        decoding: Decoding,
        rows: list[_Row],
        options: SearchOptions,
        stops: Stops,
        device: torch.device,
    ) -> None:
        self.decoding, self.rows, self.options, self.stops = decoding, rows, options, stops
        self.tokens = torch.empty(len(rows), 0, dtype=torch.long, device=device)  # (r c) n
        self.logprobs = torch.zeros(len(rows), 1, device=device)  # r c
        self.ends = torch.tensor(stops.ends, dtype=torch.long, device=device)
        self.never = torch.tensor(stops.never, dtype=torch.long, device=device)

    def grow(self, logits: Tensor) -> None:
        """One token more for every beam, by logits `(r c) v`."""
        # the model's own, so before anything is ruled out
        logp = logits.float().log_softmax(-1).index_fill(1, self.never, float("-inf"))
        w, (r, v) = self.options.beam, (len(self.rows), logp.shape[1])
        totals = (self.logprobs.view(-1, 1) + logp).view(r, -1)  # r (c v)
        # of each beam as many may end as there are ends, so w are left to go on
        values, flat = totals.topk(min((1 + len(self.stops.ends)) * w, totals.shape[1]))
        beams, tokens = flat // v, flat % v
        ends = torch.isin(tokens, self.ends)
        self._collect(values, beams, ends)
        values = values.masked_fill(ends, float("-inf"))
        short = w - values.shape[1]
        if short > 0:  # a vocabulary smaller than the beam
            values = F.pad(values, (0, short), value=float("-inf"))
            beams, tokens = (F.pad(t, (0, short)) for t in (beams, tokens))
        values, kept = values.topk(w)
        self._go_on(values, beams.gather(1, kept), tokens.gather(1, kept))

    def _collect(self, values: Tensor, beams: Tensor, ends: Tensor) -> None:
        """Hypotheses that have just ended go to their row."""
        if self.options.strict_ends:
            values, ends = (t[:, : self.options.beam] for t in (values, ends))
        for i, j in (ends & values.isfinite()).nonzero().tolist():
            self.rows[i].add(self._ids(i, int(beams[i, j])), float(values[i, j]), ended=True)

    def _ids(self, row: int, beam: int) -> list[int]:
        return self.tokens[row * self.logprobs.shape[1] + beam].tolist()

    def _go_on(self, values: Tensor, beams: Tensor, tokens: Tensor) -> None:
        """Keep the chosen beams, `r w`, of the rows that are not settled."""
        best, going = values[:, 0].tolist(), []
        for i, row in enumerate(self.rows):
            if self.tokens.shape[1] + 1 >= row.limit:
                self._cut(i, values[i], beams[i], tokens[i])
            elif best[i] > float("-inf") and not row.is_settled(best[i], self.options.n_best):
                going.append(i)
        index = torch.tensor(going, dtype=torch.long, device=tokens.device)
        parents = (beams[index] + index.unsqueeze(1) * self.logprobs.shape[1]).flatten()
        self.tokens = torch.cat([self.tokens[parents], tokens[index].view(-1, 1)], 1)
        self.logprobs, self.rows = values[index], [self.rows[i] for i in going]
        self.decoding.reorder(parents)

    def _cut(self, i: int, values: Tensor, beams: Tensor, tokens: Tensor) -> None:
        """The limit ends what has not ended by itself."""
        for logprob, beam, token in zip(
            values.tolist(), beams.tolist(), tokens.tolist(), strict=True
        ):
            if logprob > float("-inf"):
                self.rows[i].add([*self._ids(i, beam), token], logprob, ended=False)


@torch.inference_mode()
def beam_search(
    decoding: Decoding, limits: Sequence[int], options: SearchOptions, stops: Stops
) -> list[list[Hypothesis]]:
    """The `n_best` hypotheses of each row, best first.

    Each row has a limit of its own (tokens with the end). It is searched until nothing alive can
    enter its n best, so asking for more never changes the first.
    """
    if not limits:
        return []
    rows = [_Row(limit, options.penalty) for limit in limits]
    logits = decoding.start()
    beams = _Beams(decoding, list(rows), options, stops, logits.device)
    beams.grow(logits)
    while beams.rows:
        beams.grow(decoding.step(beams.tokens[:, -1]))
    return [sorted(row.ended, key=lambda h: -h.score)[: options.n_best] for row in rows]
