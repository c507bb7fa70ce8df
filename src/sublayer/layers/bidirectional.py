"""Language models of both directions, and what a task takes from their layers."""

from __future__ import annotations

import warnings
from typing import Any, final

import torch
from torch import Tensor, nn

from sublayer.layers.block import Body
from sublayer.layers.dropout import Dropout
from sublayer.layers.mask import Mask, Padding
from sublayer.layers.recurrent import RecurrentEncoder, lengths_of, turned
from sublayer.layers.state import State


@final
class ProjectedLSTM(nn.LSTM):
    """An LSTM whose output and recurrence are a projection of its cells (Sak et al. 2014, eq. 7).

    As many cells as outputs have no projection.
    """

    def __init__(self, d_input: int, d_cell: int, d_model: int) -> None:
        proj_size = 0 if d_cell == d_model else d_model
        super().__init__(d_input, d_cell, proj_size=proj_size, batch_first=True)

    def forward(self, *inputs: Any) -> Any:
        """`b n i` -> `b n m`, and the last states."""
        with warnings.catch_warnings():  # that oneDNN has none; PyTorch's own takes as long
            warnings.filterwarnings("ignore", "LSTM with projections is not supported")
            return super().forward(*inputs)


@final
class BidirectionalStack(Body):
    """Layers that read forwards, and as many others that read backwards (Peters et al. 2018, 3.1).

    Each direction goes by itself through all its layers, so that neither knows the word it is to
    tell. From the second layer on a layer's input is added to its output (section 3.4). Rows are
    read backwards from their last word, so padding is not seen.
    """

    def __init__(self, d_model: int, d_cell: int, n_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.forward_layers, self.backward_layers = (
            nn.ModuleList(ProjectedLSTM(d_model, d_cell, d_model) for _ in range(n_layers))
            for _ in range(2)
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
        """`b n m` -> `b n (l 2m)`: the input twice, then of each layer both directions."""
        assert memory is None, "there is nothing here that looks at a memory"
        assert state is None, "one direction sees what comes later"
        lengths = lengths_of(x, mask)
        there, back = x, turned(x, lengths)
        out = [x, x]
        pairs = zip(self.forward_layers, self.backward_layers, strict=True)
        for number, (forwards, backwards) in enumerate(pairs):
            ahead, _ = forwards(self.dropout(there))
            behind, _ = backwards(self.dropout(back))
            there, back = (there + ahead, back + behind) if number else (ahead, behind)
            out += [there, turned(back, lengths)]
        return torch.cat(out, -1)


@final
class LayerMix(nn.Module):
    """gamma sum_j softmax(s)_j h_j, of layers side by side (Peters et al. 2018, eq. 1)."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.s, self.gamma = nn.Parameter(torch.zeros(n_layers)), nn.Parameter(torch.ones(1))

    def forward(self, layers: Tensor) -> Tensor:
        """`... (l m)` -> `... m`."""
        weights = self.gamma * self.s.softmax(0)
        split = layers.unflatten(-1, (len(self.s), -1))
        return (split * weights.unsqueeze(-1).to(split.dtype)).sum(-2)


@final
class MixedReader(nn.Module):
    """The layers' mix, read by a biLSTM if there is one, then pooled (Peters et al. 2018, 3.3)."""

    def __init__(
        self,
        mix: LayerMix,
        reader: RecurrentEncoder | None,
        pool: nn.Module,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mix, self.reader, self.pool = mix, reader, pool
        self.dropout = Dropout(dropout if reader is None else 0.0)
        """A reader has dropout on its input itself."""

    def forward(self, layers: Tensor, valid: Tensor | None = None) -> Tensor:
        """`b n (l m)` -> what is labelled; `valid` is true at real words, `b n`."""
        x = self.dropout(self.mix(layers))
        if self.reader is not None:
            x = self.reader(x, None if valid is None else Padding(valid))
        return self.pool(x, valid)
