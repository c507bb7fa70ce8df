"""Convolutions along the positions of a text, as products of inputs that stand side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.block import Body
from sublayer.layers.dropout import Dropout
from sublayer.layers.joint import joint
from sublayer.layers.mask import Mask
from sublayer.layers.state import State


@final
class CausalConvolution(nn.Module):
    """b + sum_j W_j x_(t - j dilation), j = 0 ... kernel - 1: of no input that comes later.

    van den Oord et al. 2016, "WaveNet", section 2.1; zeros stand before the text. With a state it
    keeps the inputs that are yet to be read in a ring, so that a step costs the same however much
    was written (Paine et al. 2016, "Fast Wavenet generation algorithm").
    """

    def __init__(self, d_in: int, d_out: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        if kernel < 2:
            raise ValueError(f"a causal convolution has a kernel of 2 or more, got {kernel}")
        self.kernel, self.dilation = kernel, dilation
        self.product = nn.Linear(kernel * d_in, d_out)
        """Of the oldest input first."""

    @property
    def span(self) -> int:
        """Places from the oldest input to the output."""
        return (self.kernel - 1) * self.dilation

    def forward(self, x: Tensor, state: State | None = None, valid: Tensor | None = None) -> Tensor:
        """`b n i` -> `b n o`; with a state, `x` and `valid` are what is new, as in `Body`."""
        if state is None:
            return self.product(_beside(F.pad(x, (0, 0, self.span, 0)), self.kernel, self.dilation))
        kept = state.carried(self)
        if kept is not None and (state.has_lanes or (x.shape[1] == 1 and valid is None)):
            return self._step(x, state, *kept)
        assert not state.has_lanes, "lanes part behind the first token"
        return self._go_on(x, state, kept, valid)

    def _step(self, x: Tensor, state: State, ring: Tensor, read: Tensor) -> Tensor:
        """A token for each lane, `b w i`; the ring is `b w span i`, `read` how many it took."""
        ahead = torch.arange(0, self.span, self.dilation, device=x.device)
        slots = _each((read.unsqueeze(-1) + ahead) % self.span, ring)
        past = ring.gather(2, slots)
        out = self.product(torch.cat([past.flatten(2), x], -1))
        # the oldest is read for the last time, and what is new takes its place
        ring.scatter_(2, slots[:, :, :1], x.unsqueeze(2).to(ring.dtype))
        state.carry(self, ring, read + 1)
        return out

    def _go_on(
        self,
        x: Tensor,
        state: State,
        kept: tuple[Tensor, ...] | None,
        valid: Tensor | None,
    ) -> Tensor:
        """Tokens that follow one another."""
        b, n, i = x.shape
        places = torch.arange(self.span, device=x.device)
        if kept is None:
            past = x.new_zeros(b, self.span, i)
        else:
            ring, read = kept
            past = ring.gather(2, _each((read.unsqueeze(-1) + places) % self.span, ring)).squeeze(1)
        all_ = torch.cat([past, x], 1)
        out = self.product(_beside(all_, self.kernel, self.dilation))
        if valid is None:
            last = all_[:, n:].clone()  # not a view, which would keep the whole text
        else:  # padding behind the last token is not kept
            taken = (valid * torch.arange(1, n + 1, device=x.device)).amax(1, keepdim=True)
            last = all_.gather(1, (taken + places).unsqueeze(-1).expand(-1, -1, i))
        state.carry(self, last.unsqueeze(1), places.new_zeros(b, 1))
        return out


def _beside(x: Tensor, kernel: int, dilation: int = 1) -> Tensor:
    """The inputs of each output, oldest first: `b (n + (kernel - 1) dilation) i` -> `b n (k i)`."""
    n = x.shape[1] - (kernel - 1) * dilation
    return torch.cat([x[:, j * dilation : j * dilation + n] for j in range(kernel)], -1)


def _each(slots: Tensor, ring: Tensor) -> Tensor:
    """`b w s` -> `b w s i`."""
    return slots.unsqueeze(-1).expand(-1, -1, -1, ring.shape[-1])


@final
class GatedConvolution(nn.Module):
    """z = tanh(W_f * x) sigmoid(W_g * x); x + W_r z goes on, W_s z is skipped to the end.

    van den Oord et al. 2016, section 2.3, eq. 2, and figure 4; `*` is a causal convolution. Nothing
    goes on from the last one, which has no W_r.
    """

    def __init__(
        self,
        d_model: int,
        d_skip: int,
        kernel: int,
        dilation: int,
        *,
        dropout: float = 0.0,
        is_last: bool = False,
    ) -> None:
        super().__init__()
        self.convolution = CausalConvolution(d_model, 2 * d_model, kernel, dilation)
        self.dropout = Dropout(dropout)
        self.skip = nn.Linear(d_model, d_skip)
        self.residual = None if is_last else nn.Linear(d_model, d_model)

    def forward(
        self, x: Tensor, state: State | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`b n m` -> what goes on, `b n m`, and what is skipped, `b n s`."""
        filtered, gate = self.convolution(x, state, valid).chunk(2, -1)
        z = self.dropout(filtered.tanh() * gate.sigmoid())
        if self.residual is None:
            return x, self.skip(z)
        residual, skipped = joint(z, self.residual, self.skip)
        return x + residual, skipped


@final
class DilatedStack(Body):
    """Gated convolutions in a row behind a plain one; relu(W relu(sum of what they skip)).

    van den Oord et al. 2016, figure 4, but for the last layer, which is the head. The mask is not
    asked: a convolution reads what comes before, and padding comes after every token.
    """

    def __init__(
        self, entry: CausalConvolution, blocks: Iterable[GatedConvolution], d_skip: int
    ) -> None:
        super().__init__()
        self.entry, self.blocks = entry, nn.ModuleList(blocks)
        self.out = nn.Linear(d_skip, d_skip)

    @property
    def receptive_field(self) -> int:
        """Tokens that an output follows from, its own place's among them."""
        return 1 + sum(part.span for part in self.modules() if isinstance(part, CausalConvolution))

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Embeddings `b n m` -> `b n s`, of the width of what is skipped."""
        assert memory is None, "there is nothing here that looks at a memory"
        x, total = self.entry(x, state, valid), x.new_zeros(())
        for block in self.blocks:
            x, skipped = block(x, state, valid)
            total = total + skipped
        return F.relu(self.out(F.relu(total)))


@final
class WordWindows(Body):
    """c_i = relu(w x_(i : i + h - 1) + b) of filters of several widths h (Kim 2014, eq. 2).

    A window that reaches beyond the text gives 0, which is no more than any feature, so a maximum
    over time is that of whole windows. A text shorter than h is one window, filled up with zeros.
    """

    def __init__(self, d_in: int, filters: Sequence[tuple[int, int]]) -> None:
        """`filters`: widths, and how many there are of each."""
        super().__init__()
        self.widths = tuple(h for h, _ in filters)
        self.products = nn.ModuleList(nn.Linear(h * d_in, n) for h, n in filters)

    def forward(
        self,
        x: Tensor,
        mask: Mask | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        state: State | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Embeddings `b n m` -> `b n f`, of all filters, at the first word of each window."""
        assert memory is None, "there is nothing here that looks at a memory"
        assert state is None, "windows see what comes later"
        return torch.cat([*self.features(x, mask)], -1)

    def features(self, x: Tensor, mask: Mask | None = None) -> Iterator[Tensor]:
        """`b n m` -> `b n f` of each width in turn."""
        places = torch.arange(x.shape[1], device=x.device)
        # whom the first token sees, which is all that a mask of padding says
        real = torch.ones_like(places, dtype=torch.bool).unsqueeze(0)  # 1 n
        if mask is not None:
            real = mask(places[:1], places)[:, 0]  # b n
        x = x * real.unsqueeze(-1)
        for h, product in zip(self.widths, self.products, strict=True):
            is_whole = F.pad(real[:, h - 1 :], (0, min(h - 1, x.shape[1])))
            is_whole = is_whole | (places == 0)
            found = F.relu(product(_beside(F.pad(x, (0, 0, 0, h - 1)), h)))
            yield found * is_whole.unsqueeze(-1)
