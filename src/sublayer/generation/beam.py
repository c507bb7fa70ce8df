"""Beam search, written once for every model with a `Decoding`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sublayer.generation.batches import in_place
from sublayer.generation.continuations import best_continuations, from_logits
from sublayer.generation.decoding import Decoding
from sublayer.generation.hypothesis import Hypothesis, LengthPenalty, Searching, SearchOptions
from sublayer.generation.logits import NEVER, Past
from sublayer.generation.numbers import check_numbers
from sublayer.generation.pieces import Pieces
from sublayer.generation.stopping import Stops


@dataclass
class _Ended:
    """What has ended of the hypotheses that one group of beams has for one text."""

    limit: int
    penalty: LengthPenalty
    enough: float
    """Hypotheses that end the search at once."""
    found: list[Hypothesis] = field(default_factory=list)
    closed: bool = False
    """Whether that has come about: other groups may go on, but nothing is added here."""

    def add(self, ids: list[int], logprob: float, total: float, tokens: int) -> None:
        """One that has written so many tokens; it has an end token or was stopped."""
        self._add(Hypothesis(ids, logprob, total / self.penalty(tokens), ended=True))

    def add_cut(self, ids: list[int], logprob: float, total: float) -> None:
        """One that cannot go on."""
        score = total / self.penalty(max(len(ids), 1))
        self._add(Hypothesis(ids, logprob, score, ended=False))

    def _add(self, hypothesis: Hypothesis) -> None:
        if not self.closed:
            self.found.append(hypothesis)

    def is_settled(self, best_alive: float, n_best: int) -> bool:
        """Whether enough have ended, or nothing still alive can enter the n best.

        Totals only fall, the penalty is largest at the limit: none can pass the bound.
        """
        if self.closed:
            return True
        if len(self.found) < n_best:
            return False
        bound = best_alive / self.penalty(self.limit)
        return sorted((h.score for h in self.found), reverse=True)[n_best - 1] >= bound


class _Row:
    """One text to be written: how long it may get, and what has ended, group by group."""

    def __init__(self, limit: int, options: SearchOptions) -> None:
        self.limit, self.n_best = limit, options.n_best
        width = options.beam // options.groups.count
        enough = inf if options.patience is None else options.patience * width
        self.groups = [_Ended(limit, options.penalty, enough) for _ in range(options.groups.count)]
        # the n best are the best of each group, then the second of each, so this deep
        self.depth = -(-options.n_best // options.groups.count)

    def close_groups(self) -> None:
        """A step is over: groups that have enough take no more."""
        for ended in self.groups:
            ended.closed = len(ended.found) >= ended.enough

    def is_settled(self, best_alive: Sequence[float]) -> bool:
        """Whether nothing still alive, of which these are the groups' best, can enter the n best.

        Until then all groups go on: what a group writes depends on all those before it.
        """
        for best, ended in zip(best_alive, self.groups, strict=True):
            if best > NEVER and not ended.is_settled(best, self.depth):
                return False
        return True

    def best(self) -> list[Hypothesis]:
        """The `n_best`, or fewer if groups have fewer."""
        in_order = [sorted(ended.found, key=lambda h: -h.score) for ended in self.groups]
        rounds = ([found[i] for found in in_order if i < len(found)] for i in range(self.depth))
        return [h for found in rounds for h in sorted(found, key=lambda h: -h.score)][: self.n_best]


class _Kept(NamedTuple):
    """Beams that go on, `r w`: what they add up to, the beams they come from, their tokens."""

    totals: Tensor
    beams: Tensor
    tokens: Tensor


class _Beams:
    """The hypotheses alive: `r` rows of `c` beams, flattened to `r c` where the model sees them.

    A row begins as one beam of each group, which the first step turns into its share of the width.
    """

    def __init__(
        self,
        decoding: Decoding,
        rows: list[_Row],
        options: SearchOptions,
        stops: Stops,
        past: Past,
        pieces: Sequence[Pieces],
    ) -> None:
        self.decoding, self.rows, self.options, self.stops = decoding, rows, options, stops
        self.past, self.pieces = past, list(pieces)
        device, n_groups = past.ids.device, options.groups.count
        self.width = options.beam // n_groups
        self.totals = torch.zeros(len(rows), n_groups, device=device)  # r c
        # the model's own, where rules and groups make something else of it
        self.is_apart = bool(options.rules) or n_groups > 1
        self.logprobs, self.logp = self.totals, self.totals  # r c, r c v
        self.ends = torch.tensor(stops.ends, dtype=torch.long, device=device)
        self.never = torch.tensor(stops.never, dtype=torch.long, device=device)

    def grow(self, logits: Tensor) -> None:
        """One token more for every beam, by logits `(r c) v`."""
        logits = logits.float()
        if not self.is_apart:
            found = from_logits(self.totals, logits, self.never, self._wanted)
            self._go_on(self._alive(_Kept(*found), 0))
            return
        # the model's own, so before anything is ruled out
        logp = logits.log_softmax(-1).index_fill_(1, self.never, NEVER)
        r, c = self.totals.shape
        self.logp = ruled = logp.view(r, c, -1)
        if self.options.rules:
            ruled = self.options.rules(logp, self.past).view(r, c, -1)
            self._cut_stuck((ruled > NEVER).any(2))
        self._go_on(self._kept(ruled))

    def _cut_stuck(self, free: Tensor) -> None:
        """What may be followed by nothing ends there."""
        for i, beam in (~free & self.totals.isfinite()).nonzero().tolist():
            logprob, total = float(self.logprobs[i, beam]), float(self.totals[i, beam])
            self._group(i, beam).add_cut(self._ids(i, beam), logprob, total)

    def _kept(self, logp: Tensor) -> _Kept:
        """The best of all continuations, whose tokens have `logp`, `r c v`, group by group."""
        n_groups = self.options.groups.count
        if n_groups == 1:
            return self._best(self.totals, logp, 0)
        groups: list[_Kept] = []
        said = torch.zeros_like(logp[:, 0])  # r v: how many go on with each token
        for totals, own in zip(
            self.totals.chunk(n_groups, 1), logp.chunk(n_groups, 1), strict=True
        ):
            less = self.options.groups.diversity * said.unsqueeze(1)
            kept = self._best(totals, own - less, len(groups) * own.shape[1])
            said = said.scatter_add(1, kept.tokens, kept.totals.isfinite().to(said.dtype))
            groups.append(kept)
        return _Kept(*(torch.cat(parts, 1) for parts in zip(*groups, strict=True)))

    @property
    def _wanted(self) -> int:
        """Continuations of a group to look at.

        Of each beam as many may end as there are ends, so the width is left to go on.
        """
        return (1 + len(self.stops.ends)) * self.width

    def _best(self, totals: Tensor, logp: Tensor, first: int) -> _Kept:
        """Of one group, `r c` and `r c v`, whose beams begin with the number `first`."""
        values, beams, tokens = best_continuations(totals, logp, self._wanted)
        return self._alive(_Kept(values, beams + first, tokens), first)

    def _alive(self, candidates: _Kept, first: int) -> _Kept:
        """The best that do not end; those that do go to their rows."""
        w, (values, beams, tokens) = self.width, candidates
        ends = torch.isin(tokens, self.ends)
        self._collect(candidates, ends)
        if self.pieces:
            ends = ends | self._collect_stopped(candidates, ends)
        values = values.masked_fill(ends, NEVER)
        short = w - values.shape[1]
        if short > 0:  # a vocabulary smaller than the beam
            values = F.pad(values, (0, short), value=NEVER)
            beams, tokens = F.pad(beams, (0, short), value=first), F.pad(tokens, (0, short))
        values, kept = values.topk(w)
        return _Kept(values, beams.gather(1, kept), tokens.gather(1, kept))

    def _collect(self, candidates: _Kept, ends: Tensor) -> None:
        """Hypotheses that have just written an end go to their row."""
        for i, j in (ends & candidates.totals.isfinite()).nonzero().tolist():
            if self.options.strict_ends and j >= self.width:
                continue
            beam, total = int(candidates.beams[i, j]), float(candidates.totals[i, j])
            ids, logprob = self._ids(i, beam), self._logprob(candidates, i, j)
            self._group(i, beam).add(ids, logprob, total, len(ids) + 1)

    def _collect_stopped(self, candidates: _Kept, ends: Tensor) -> Tensor:
        """Those that have just met a stop string go to their row; which they are, `r k`."""
        stopped = torch.zeros_like(ends)
        for i, j in (~ends & candidates.totals.isfinite()).nonzero().tolist():
            beam, token = int(candidates.beams[i, j]), int(candidates.tokens[i, j])
            if not self.pieces[self._place(i, beam)].then(token).stopped:
                continue
            stopped[i, j] = True
            if j < self.width or not self.options.strict_ends:
                ids, logprob = [*self._ids(i, beam), token], self._logprob(candidates, i, j)
                total = float(candidates.totals[i, j])
                self._group(i, beam).add(ids, logprob, total, len(ids))
        return stopped

    def _place(self, row: int, beam: int) -> int:
        return row * self.totals.shape[1] + beam

    def _ids(self, row: int, beam: int) -> list[int]:
        return self.past.output[self._place(row, beam)].tolist()

    def _group(self, row: int, beam: int) -> _Ended:
        """That of a beam of now, before the step."""
        groups = self.rows[row].groups
        return groups[beam * len(groups) // self.totals.shape[1]]

    def _logprob(self, candidates: _Kept, i: int, j: int) -> float:
        """The model's own of one candidate."""
        if not self.is_apart:
            return float(candidates.totals[i, j])
        beam, token = int(candidates.beams[i, j]), int(candidates.tokens[i, j])
        return float(self.logprobs[i, beam] + self.logp[i, beam, token])

    def _go_on(self, kept: _Kept) -> None:
        """The kept beams of the rows that are not settled."""
        best, going, length = kept.totals[:, :: self.width].tolist(), [], self.past.written + 1
        check_numbers(best_of_row for row in best for best_of_row in row)
        for i, row in enumerate(self.rows):
            if length >= row.limit:
                self._cut(kept, i)
                continue
            row.close_groups()
            if not row.is_settled(best[i]):
                going.append(i)
        going = in_place(going)
        index = torch.tensor(going, dtype=torch.long, device=kept.totals.device)
        if self.is_apart:
            rows = torch.arange(len(self.rows), device=index.device).unsqueeze(1)
            own = self.logp[rows, kept.beams, kept.tokens]
            self.logprobs = (self.logprobs.gather(1, kept.beams) + own)[index]
        parents = (kept.beams[index] + index.unsqueeze(1) * self.totals.shape[1]).flatten()
        tokens = kept.tokens[index].flatten()
        if self.pieces:
            self.pieces = [
                self.pieces[parent].then(token)
                for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True)
            ]
        self.past = self.past.take(parents).then(tokens)
        self.totals, self.rows = kept.totals[index], [self.rows[i] for i in going]
        self.decoding.reorder(parents, self.width * self.options.groups.count)

    def _cut(self, kept: _Kept, i: int) -> None:
        """The limit ends what has not ended by itself."""
        for j, total in enumerate(kept.totals[i].tolist()):
            if total > NEVER:
                beam = int(kept.beams[i, j])
                ids = [*self._ids(i, beam), int(kept.tokens[i, j])]
                self._group(i, beam).add_cut(ids, self._logprob(kept, i, j), total)


def beam_search(
    decoding: Decoding,
    limits: Sequence[int],
    options: SearchOptions,
    stops: Stops,
    *,
    prompts: Sequence[Sequence[int]] = (),
    pieces: Sequence[Pieces] = (),
) -> Searching:
    """The `n_best` hypotheses of each row, best first.

    Each row has a limit of its own (tokens with the end). It is searched until nothing alive can
    enter its n best, or as the patience says, so asking for more never changes the first. Beams are
    kept, and hypotheses ranked, by log-probabilities as rules and groups leave them: for what only
    forbids, that is the model's own. With stop strings more of a step's candidates may end than
    room was made for; then fewer go on. Rules see the `prompts` too, if there are any; `pieces` are
    those of the rows.
    """
    if not limits:
        return []
    rows = [_Row(limit, options) for limit in limits]
    logits = decoding.start()
    seen = prompts if prompts and options.rules else [[]] * len(rows)
    past = Past.of(seen, logits.device)
    if options.groups.count > 1:
        index = torch.arange(len(rows), device=logits.device)
        index = index.repeat_interleave(options.groups.count)
        decoding.reorder(index, options.groups.count)
        logits, past = logits[index], past.take(index)
        pieces = [pieces[i] for i in index.tolist()] if pieces else ()
    beams = _Beams(decoding, list(rows), options, stops, past, pieces)
    beams.grow(logits)
    while beams.rows:
        beams.grow((yield beams.past.ids[:, -1]))
    return [row.best() for row in rows]
