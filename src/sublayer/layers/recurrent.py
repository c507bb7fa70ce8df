"""Recurrences: single steps, and whole sequences in one call, in one direction or both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from sublayer.layers.block import Body
from sublayer.layers.dropout import Dropout
from sublayer.layers.gates import GRUGates, LSTMGates
from sublayer.layers.gru import run_gru
from sublayer.layers.mask import Mask
from sublayer.layers.product import is_heard, is_plain
from sublayer.layers.state import State
from sublayer.layers.unrolled import Held, is_recorded

States = tuple[Tensor, ...]
"""What a recurrence goes on from: the output, and an LSTM's cell."""
Step = Callable[[States, Tensor | None], States]
"""The next of many steps: from the states before and what becomes known at it only."""


class Cell(nn.Module, ABC):
    """Abstract. One step of a recurrence, on any number of axes before the last.

    What it reads is multiplied apart from the step (`read`), so that this is done for all steps at
    once where they are known. `d_context` is the width of what becomes known at each step only.
    """

    n_gates: ClassVar[int]
    n_states: ClassVar[int]
    fused: ClassVar[type[nn.LSTM] | type[nn.GRU]]
    """The same recurrence over whole sequences."""

    def __init__(self, d_input: int, d_model: int, d_context: int = 0) -> None:
        super().__init__()
        self.d_model = d_model
        self.read = nn.Linear(d_input, self.n_gates * d_model)
        self.recall = nn.Linear(d_model, self.n_gates * d_model)
        self.attend = (
            nn.Linear(d_context, self.n_gates * d_model, bias=False) if d_context else None
        )

    def _reading(self, read: Tensor, context: Tensor | None) -> Tensor:
        if self.attend is None:
            return read
        assert context is not None
        return read + self.attend(context)

    @abstractmethod
    def forward(self, read: Tensor, states: States, context: Tensor | None = None) -> States:
        """What `read` gave, `... g`, the states `... d` and a context `... m` -> new states."""

    def unroll(self, read: Tensor) -> Step:
        """`forward` for one step after another, of what `read` gave for all, `n b w g`.

        The steps take a context. In training they cost less than `forward`.
        """
        if not self._unrolls(self.recall, self.attend):
            steps = iter(read.unbind())
            return lambda states, context: self(next(steps), states, context)
        return self._unrolled(self.attend, read, read.shape[:3])

    def unroll_over(self, shape: tuple[int, ...]) -> Step:
        """The same where no step's input is known before; they take it. `shape` is `n b w`."""
        if self.attend is not None or not self._unrolls(self.recall, self.read):
            return lambda states, x: self(self.read(x), states)
        return self._unrolled(self.read, None, shape)

    def _unrolls(self, *layers: nn.Module | None) -> bool:
        plain = all(layer is None or is_plain(layer) for layer in layers)
        return is_recorded() and plain and not is_heard(self)

    @abstractmethod
    def _unrolled(
        self, second: nn.Linear | None, read: Tensor | None, shape: tuple[int, ...]
    ) -> Step:
        """Steps whose second input goes through `second`; `read` as far as it is known."""


@final
class LSTMCell(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    As `nn.LSTMCell`, with the gates in its order: input, forget, cell, output.
    """

    n_gates, n_states, fused = 4, 2, nn.LSTM

    def forward(self, read: Tensor, states: States, context: Tensor | None = None) -> States:
        """Output and cell, `... d`."""
        h, cell = states
        gates = self._reading(read, context) + self.recall(h)
        take, keep, new, show = gates.chunk(4, -1)
        cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
        return (show.sigmoid() * cell.tanh()).to(gates.dtype), cell

    def _unrolled(
        self, second: nn.Linear | None, read: Tensor | None, shape: tuple[int, ...]
    ) -> Step:
        weight: Tensor = self.recall.weight
        bias: Tensor = self.recall.bias
        if second is not None:  # one product of both
            weight = torch.cat([weight, second.weight], 1)
            bias = bias if second.bias is None else bias + second.bias
        held = Held(weight, bias, onto=read, shape=shape)

        def step(states: States, x: Tensor | None) -> States:
            h, cell = states
            sums = held(h if x is None else torch.cat([h.to(x.dtype), x], -1))
            after: States = LSTMGates.apply(sums, cell)  # type: ignore[no-untyped-call]
            return after

        return step


@final
class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014, appendix A.1.1), its gates in the order of `nn.GRU`.

    As there and in cuDNN the reset gate acts on the recurrent product, not on its input, so that
    one product serves all gates.
    """

    n_gates, n_states, fused = 3, 1, nn.GRU

    def forward(self, read: Tensor, states: States, context: Tensor | None = None) -> States:
        """The output, `... d`."""
        (h,) = states
        reading, recalled, d = self._reading(read, context), self.recall(h), self.d_model
        reset, update = (reading[..., : 2 * d] + recalled[..., : 2 * d]).sigmoid().chunk(2, -1)
        new = (reading[..., 2 * d :] + reset * recalled[..., 2 * d :]).tanh()
        return (new + update * (h - new),)

    def _unrolled(
        self, second: nn.Linear | None, read: Tensor | None, shape: tuple[int, ...]
    ) -> Step:
        known = iter(()) if read is None else iter(read.unbind())
        adds = Held(second.weight, second.bias, onto=read, shape=shape) if second else None
        recalled = Held(self.recall.weight, self.recall.bias, shape=shape)

        def step(states: States, x: Tensor | None) -> States:
            (h,) = states
            reading = next(known) if adds is None or x is None else adds(x)
            out: Tensor = GRUGates.apply(reading, recalled(h), h)  # type: ignore[no-untyped-call]
            return (out,)

        return step


def begin_well(module: nn.Module) -> None:
    """Recurrent matrices orthogonal, gate by gate, others by Glorot & Bengio 2010; biases zero.

    But a forget gate's is 1 (Jozefowicz et al. 2015, section 2.2). Bahdanau et al. 2015 have
    orthogonal ones too (appendix B.1).
    """
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            for name, p in part.named_parameters():
                n_gates = 1 if "_hr_" in name else p.shape[0] // part.hidden_size
                _begin(p, n_gates, recurrent="_hh_" in name)
            if isinstance(part, nn.LSTM):
                for name, p in part.named_parameters():
                    if name.startswith("bias_ih"):
                        _open(p)
        elif isinstance(part, Cell):
            _begin(part.recall.weight, part.n_gates, recurrent=True)
            if isinstance(part, LSTMCell):
                _open(part.read.bias)


def _begin(p: Tensor, n_gates: int, *, recurrent: bool) -> None:
    if p.ndim == 1:
        nn.init.zeros_(p)
        return
    for gate in p.data.chunk(n_gates):
        (nn.init.orthogonal_ if recurrent else nn.init.xavier_uniform_)(gate)


def _open(bias: Tensor) -> None:
    """The forget gate, which is the second of four."""
    bias.data.chunk(4)[1].fill_(1.0)


def lengths_of(x: Tensor, mask: Mask | None) -> Tensor | None:
    """How many of `b n m` are real in each row, `b`; None where all are."""
    allowed = allowed_of(x, mask)
    return None if allowed is None else allowed.sum((1, 2))


def allowed_of(x: Tensor, mask: Mask | None) -> Tensor | None:
    """A mask of padding alone as `b 1 n`, true at what is real of `b n m`; None where all is."""
    if mask is None:
        return None
    places = torch.arange(x.shape[1], device=x.device)
    return mask(places[:1], places)


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`b n m` with what is real of each row backwards, padding where it was."""
    if lengths is None:
        return x.flip(1)
    places = torch.arange(x.shape[1], device=x.device)
    last = lengths.unsqueeze(1) - 1
    index = torch.where(places <= last, last - places, places)  # b n
    return x.gather(1, index.unsqueeze(2).expand_as(x))


def run(layers: nn.Module, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
    """An `nn.LSTM` or `nn.GRU` over a whole sequence, `b n m` -> `b n d`, and its states, `l b d`.

    PyTorch's GRU takes its steps one by one on a CPU: in training ours cost less.
    """
    in_training = is_recorded() and x.device.type == "cpu" and not is_heard(layers)
    if isinstance(layers, nn.GRU) and in_training:
        out, last = run_gru(layers, x, None if states is None else states[0])
        return out, (last,)
    first = states if states is None or len(states) == 2 else states[0]
    out, after = layers(x, first)
    return out, after if isinstance(after, tuple) else (after,)


@final
class RecurrentEncoder(Body):
    """Layers of one recurrence, each over the whole sequence in one call.

    A layer is one `nn.LSTM` or `nn.GRU`; or two, of which the second reads backwards and whose
    outputs stand side by side (Schuster & Paliwal 1997). Rows are read backwards from their last
    token, so padding is not seen, and no sequence needs to be packed.
    """

    def __init__(
        self,
        kind: type[Cell],
        widths: tuple[int, int],
        n_layers: int,
        dropout: float = 0.0,
        *,
        both_ways: bool = False,
    ) -> None:
        """`widths` of the input and of each direction's output."""
        super().__init__()
        d_input, d_model = widths
        self.both_ways, self.dropout = both_ways, Dropout(dropout)
        self.forward_layers, self.backward_layers = nn.ModuleList(), nn.ModuleList()
        for layer in range(n_layers):
            width = (1 + both_ways) * d_model if layer else d_input
            self.forward_layers.append(kind.fused(width, d_model, batch_first=True))
            if both_ways:
                self.backward_layers.append(kind.fused(width, d_model, batch_first=True))

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """`b n m` -> `b n d`, or `b n 2d` of both directions; `mask` is that of padding."""
        lengths = lengths_of(x, mask) if self.both_ways else None
        x = self.dropout(x)
        for i, layer in enumerate(self.forward_layers):
            if i:
                x = self.dropout(x)
            out, _ = run(layer, x)
            if self.both_ways:
                back, _ = run(self.backward_layers[i], turned(x, lengths))
                out = torch.cat([out, turned(back, lengths)], -1)
            x = out
        return x


@final
class VectorEncoder(Body):
    """A whole text as one vector: tanh(V h) of the last output (Cho et al. 2014, A.1.1)."""

    def __init__(self, encoder: RecurrentEncoder, d_model: int) -> None:
        super().__init__()
        self.encoder, self.vector = encoder, nn.Linear(d_model, d_model)

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """`b n m` -> `b 1 d`."""
        return torch.tanh(self.vector(last_of(self.encoder(x, mask), lengths_of(x, mask))))


@final
class StatesEncoder(Body):
    """A whole text as all that a deep recurrence goes on from (Sutskever et al. 2014, section 2).

    `backwards` reads the text from its last token, so that its beginning is near to what is written
    first (section 3.3).
    """

    def __init__(
        self,
        kind: type[Cell],
        widths: tuple[int, int],
        n_layers: int,
        dropout: float = 0.0,
        *,
        backwards: bool = False,
    ) -> None:
        """`widths` of the input and of a layer's output."""
        super().__init__()
        d_input, d_model = widths
        self.backwards, self.dropout = backwards, Dropout(dropout)
        self.layers = kind.fused(
            d_input,
            d_model,
            n_layers,
            batch_first=True,
            dropout=dropout if n_layers > 1 else 0.0,
        )

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """`b n m` -> `b 1 (s l d)`: each of `s` states of each of `l` layers."""
        lengths = lengths_of(x, mask)
        x = self.dropout(turned(x, lengths) if self.backwards else x)
        if lengths is None:
            _, states = self.layers(x)
        else:  # packed, for padding would move the states on
            counts = lengths.cpu()
            packed = pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
            _, states = self.layers(packed)
        each = states if isinstance(states, tuple) else (states,)
        return torch.cat([layers.transpose(0, 1).flatten(1) for layers in each], 1).unsqueeze(1)


def last_of(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`b n m` -> `b 1 m`: the last that is real of each row."""
    if lengths is None:
        return x[:, -1:]
    return x[torch.arange(len(x), device=x.device), lengths - 1].unsqueeze(1)


def split(memory: Tensor, n_states: int, n_layers: int) -> list[Tensor]:
    """What `StatesEncoder` gave, `b 1 (s l d)` -> each state, `b 1 l d`."""
    return list(memory.unflatten(-1, (n_states, n_layers, -1)).unbind(2))
