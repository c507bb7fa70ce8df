"""Recurrent decoders of the literature, each a body between embeddings and head.

With a state, hidden states are `b w d`, for `w` beams of a text that stand side by side and share
its memory; teacher forcing is the case of one. What does not wait for the step before is done for
all steps in one call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.alignment import Alignment
from sublayer.layers.block import Body
from sublayer.layers.dropout import Dropout
from sublayer.layers.mask import Mask
from sublayer.layers.product import through
from sublayer.layers.readout import Readout
from sublayer.layers.recurrent import Cell, States, allowed_of, last_of, run, split
from sublayer.layers.state import State

# ---- how a decoder begins ------------------------------------------------------------------------


class Begin(nn.Module, ABC):
    """Abstract. The first states of a decoder from the memory."""

    @abstractmethod
    def forward(self, memory: Tensor, lengths: Tensor | None) -> States:
        """Memory `b k m`, of which `lengths` (`b`) are real -> states `b 1 d`, layer by layer."""


@final
class Bridge(Begin):
    """tanh(W h) for each state of each layer, of the encoder's last output.

    Of an encoder that reads both ways it is what the backward one gave at the first token (Bahdanau
    et al. 2015, appendix A.2.2); of a vector it is Cho et al. 2014, appendix A.1.1.
    """

    def __init__(self, d_memory: int, d_model: int, n_states: int, *, both_ways: bool) -> None:
        super().__init__()
        self.n_states, self.both_ways = n_states, both_ways
        width = d_memory // 2 if both_ways else d_memory
        self.out = nn.Linear(width, n_states * d_model)

    def forward(self, memory: Tensor, lengths: Tensor | None) -> States:
        """States `b 1 d`."""
        if self.both_ways:
            summary = memory[:, :1, memory.shape[-1] // 2 :]
        else:
            summary = last_of(memory, lengths)
        # in float32, for an LSTM adds to its cell at every step
        return tuple(torch.tanh(self.out(summary)).float().chunk(self.n_states, -1))


@final
class Unpack(Begin):
    """The encoder's own states, which are the memory (Sutskever et al. 2014)."""

    def __init__(self, n_states: int, n_layers: int) -> None:
        super().__init__()
        self.n_states, self.n_layers = n_states, n_layers

    def forward(self, memory: Tensor, lengths: Tensor | None) -> States:
        """States `b 1 d`."""
        kinds = split(memory.float(), self.n_states, self.n_layers)  # b 1 l d
        return tuple(kind[:, :, layer] for layer in range(self.n_layers) for kind in kinds)


# ---- the decoders --------------------------------------------------------------------------------


class _Recurrent(Body):
    """Abstract. A decoder that goes on from states and the number of steps before."""

    def __init__(self, begin: Begin, readout: Readout, dropout: float) -> None:
        super().__init__()
        self.begin, self.readout, self.dropout = begin, readout, Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Embeddings `b n e` of the tokens before, memory `b k m` -> what the head reads, `b n o`.

        With a state, `x` goes on from it: `n` tokens of a text, or the next of `n` beams.
        """
        assert memory is not None, "a decoder reads a memory"
        assert valid is None, "targets are padded behind their end, where nothing is read"
        carried = None if state is None else state.carried(self)
        if carried is None:
            first = torch.zeros(len(x), 1, dtype=torch.long, device=x.device)
            carried = (first, *self._first(memory, memory_mask))
        lanes = state is not None and state.has_lanes
        out, states = self._decode(self.dropout(x), memory, memory_mask, state, carried)
        if state is not None:
            state.carry(self, carried[0] + (1 if lanes else x.shape[1]), *states)
        return self.dropout(out)

    def _first(self, memory: Tensor, memory_mask: Mask | None) -> States:
        allowed = allowed_of(memory, memory_mask)
        states: States = self.begin(memory, None if allowed is None else allowed.sum((1, 2)))
        return states

    @abstractmethod
    def _decode(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Mask | None,
        state: State | None,
        carried: States,
    ) -> tuple[Tensor, States]:
        """What the head reads, `b n o`, and the states after it.

        `carried` is the number of steps before, `b w`, and the states, `b w d`.
        """


def _fused(
    layers: nn.LSTM | nn.GRU, x: Tensor, states: States, *, lanes: bool
) -> tuple[Tensor, States]:
    """All steps `b n m` in one call; or one step of each lane, which is a row then."""
    b, n, _ = x.shape
    n_kinds = len(states) // layers.num_layers
    kinds = [torch.stack(states[i::n_kinds]).flatten(1, 2).to(x.dtype) for i in range(n_kinds)]
    rows = x.reshape(b * n, 1, -1) if lanes else x
    out, each = run(layers, rows, tuple(kinds))
    w = n if lanes else 1
    new = [kind[layer].view(b, w, -1) for layer in range(layers.num_layers) for kind in each]
    return out.reshape(b, n, -1), tuple(new)


@final
class VectorDecoder(_Recurrent):
    """Without attention: the memory is one vector, or states to begin with.

    `rereads`: the vector is read again at every step (Cho et al. 2014, A.1.2).
    """

    def __init__(
        self,
        layers: nn.LSTM | nn.GRU,
        begin: Begin,
        readout: Readout,
        dropout: float = 0.0,
        *,
        rereads: bool,
    ) -> None:
        super().__init__(begin, readout, dropout)
        self.layers, self.rereads = layers, rereads

    def _first(self, memory: Tensor, memory_mask: Mask | None) -> States:
        states: States = self.begin(memory, None)  # the mask is of the tokens that were read
        return states

    def _decode(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Mask | None,
        state: State | None,
        carried: States,
    ) -> tuple[Tensor, States]:
        context = memory.expand(-1, x.shape[1], -1).to(x.dtype)
        read = torch.cat([x, context], -1) if self.rereads else x
        lanes = state is not None and state.has_lanes
        h, states = _fused(self.layers, read, carried[1:], lanes=lanes)
        return self.readout(h, x, context), states


class _Aligned(_Recurrent):
    """Abstract. A decoder with attention; `cross` is where it looks."""

    def __init__(self, cross: Alignment, begin: Begin, readout: Readout, dropout: float) -> None:
        super().__init__(begin, readout, dropout)
        self.cross = cross

    def _keys(self, memory: Tensor, memory_mask: Mask | None, state: State | None) -> States:
        """Keys `b k d`, and what is no padding `b 1 k` if there is any, made once."""

        def make() -> States:
            keys, allowed = self.cross.keys(memory), allowed_of(memory, memory_mask)
            if keys is memory and state is not None:
                keys = keys.clone()  # the state moves its rows where they stand
            if allowed is None:
                allowed = torch.ones(
                    len(memory), 1, memory.shape[1], dtype=torch.bool, device=memory.device
                )
            return keys, allowed.mT

        keys, allowed = make() if state is None else state.once(self, make)
        return keys, allowed.mT

    def _tell(self, weights: Sequence[Tensor]) -> None:
        """To whom listens: `b 1 q k`, as of one head."""
        if self.cross.weights.heard:
            self.cross.weights(torch.cat([*weights], 1).unsqueeze(1))


def _in_time(x: Tensor, *, lanes: bool) -> Tensor:
    """`b n m` as steps, `n b w m`: those of one lane, or the next of each of `n`."""
    return x.unsqueeze(0) if lanes else x.transpose(0, 1).unsqueeze(2)


@final
class SearchDecoder(_Aligned):
    """RNNsearch: looks with the state before, then goes on (Bahdanau et al. 2015, A.2.2).

    The readout takes the state before too, as the paper has it.
    """

    def __init__(
        self,
        cell: Cell,
        cross: Alignment,
        begin: Begin,
        readout: Readout,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(cross, begin, readout, dropout)
        self.cell = cell

    def _decode(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Mask | None,
        state: State | None,
        carried: States,
    ) -> tuple[Tensor, States]:
        keys, allowed = self._keys(memory, memory_mask, state)
        lanes = state is not None and state.has_lanes
        states = carried[1:]
        before, contexts, seen = list[Tensor](), list[Tensor](), list[Tensor]()
        read = through(self.cell.read, _in_time(x, lanes=lanes))
        look = self.cross.unroll(keys, memory, allowed, read.shape[:3])
        go_on = self.cell.unroll(read)
        for i in range(len(read)):
            h = states[0].to(x.dtype)
            context, weights = look(h, carried[0] + i)
            before.append(h)
            contexts.append(context)
            seen.append(weights)
            states = go_on(states, context)
        self._tell(seen)
        return self.readout(torch.cat(before, 1), x, torch.cat(contexts, 1)), states


@final
class FeedingDecoder(_Aligned):
    """Luong et al. 2015 with input feeding: what was said before is read too (section 3.3).

    The cells stand one on another; the lowest reads the token and the last attentional state.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        cross: Alignment,
        begin: Begin,
        readout: Readout,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(cross, begin, readout, dropout)
        self.cells = nn.ModuleList(cells)

    def _first(self, memory: Tensor, memory_mask: Mask | None) -> States:
        states = super()._first(memory, memory_mask)
        return (torch.zeros_like(states[0]), *states)

    def _decode(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Mask | None,
        state: State | None,
        carried: States,
    ) -> tuple[Tensor, States]:
        keys, allowed = self._keys(memory, memory_mask, state)
        lanes = state is not None and state.has_lanes
        n_kinds = (len(carried) - 2) // len(self.cells)
        said, states = carried[1].to(x.dtype), list(carried[2:])
        saying, seen = list[Tensor](), list[Tensor]()
        lowest, *above = (cell for cell in self.cells if isinstance(cell, Cell))
        read = through(lowest.read, _in_time(x, lanes=lanes))
        shape = read.shape[:3]
        look = self.cross.unroll(keys, memory, allowed, shape)
        go_on = [lowest.unroll(read), *(cell.unroll_over(shape) for cell in above)]
        say = self.readout.unroll(shape)
        for i in range(len(read)):
            h = said
            for layer, cell in enumerate(go_on):
                own = slice(layer * n_kinds, (layer + 1) * n_kinds)
                states[own] = cell(tuple(states[own]), self.dropout(h) if layer else h)
                h = states[own][0]
            context, weights = look(h, carried[0] + i)
            said = say(h, x, context)
            saying.append(said)
            seen.append(weights)
        self._tell(seen)
        return torch.cat(saying, 1), (said, *states)


@final
class AfterDecoder(_Aligned):
    """Luong et al. 2015 without input feeding: no step waits for another's attention.

    So the recurrence is one call, and the attention of all steps one product.
    """

    def __init__(
        self,
        layers: nn.LSTM | nn.GRU,
        cross: Alignment,
        begin: Begin,
        readout: Readout,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(cross, begin, readout, dropout)
        self.layers = layers

    def _decode(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Mask | None,
        state: State | None,
        carried: States,
    ) -> tuple[Tensor, States]:
        keys, allowed = self._keys(memory, memory_mask, state)
        lanes = state is not None and state.has_lanes
        h, states = _fused(self.layers, x, carried[1:], lanes=lanes)
        steps = carried[0] if lanes else carried[0] + torch.arange(x.shape[1], device=x.device)
        context, weights = self.cross(h.to(memory.dtype), keys, memory, allowed, steps)
        self._tell([weights])
        return self.readout(h, x, context), states
