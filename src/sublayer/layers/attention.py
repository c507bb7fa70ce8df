"""Multi-head attention: project, attend in every head, project back."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from sublayer.layers.attend import Attend, Dense
from sublayer.layers.frame import Frame
from sublayer.layers.joint import joint
from sublayer.layers.state import State


class _Heads(nn.Module):
    """Abstract. The four projections (Vaswani et al. 2017, section 3.2.2).

    `n_kv_heads` covers a family: `n_heads` is multi-head attention, 1 is multi-query (Shazeer
    2019), between is grouped-query attention (Ainslie et al. 2023). `out_bias` is as `bias`
    unless given.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        d_head: int | None = None,
        bias: bool = True,
        out_bias: bool | None = None,
        attend: Attend | None = None,
    ) -> None:
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if d_head is None:
            if d_model % n_heads:
                raise ValueError(
                    f"d_model {d_model} is not divisible by n_heads {n_heads}; "
                    "change one or give d_head"
                )
            d_head = d_model // n_heads
        if n_heads % n_kv_heads:
            raise ValueError(f"n_heads {n_heads} is not divisible by n_kv_heads {n_kv_heads}")
        self.d_head = d_head
        self.q = nn.Linear(d_model, n_heads * d_head, bias)
        self.k = nn.Linear(d_model, n_kv_heads * d_head, bias)
        self.v = nn.Linear(d_model, n_kv_heads * d_head, bias)
        self.out = nn.Linear(n_heads * d_head, d_model, bias if out_bias is None else out_bias)
        self.attend = attend if attend is not None else Dense()

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)  # b n (h d) -> b h n d

    def _join(self, heads: Tensor) -> Tensor:
        return self.out(heads.transpose(1, 2).flatten(2))  # b h n d -> b n (h d) -> b n m


@final
class SelfAttention(_Heads):
    """Tokens look at tokens of their own sequence."""

    def forward(self, x: Tensor, frame: Frame, state: State | None = None) -> Tensor:
        """`b n m` -> `b n m`; with a state, `x` is what is new and the state gives the past."""
        q, k, v = (self._split(t) for t in joint(x, self.q, self.k, self.v))
        q, k = frame.turn(q, k)
        if state is not None:
            k, v = state.append(self, k, v)
        return self._join(self.attend(q, k, v, frame))


@final
class CrossAttention(_Heads):
    """Tokens of one sequence look at the memory of another."""

    def forward(
        self, x: Tensor, memory: Tensor, frame: Frame, state: State | None = None
    ) -> Tensor:
        """`b q m`, `b k m` -> `b q m`; with a state, the memory is projected only once."""

        def project() -> tuple[Tensor, Tensor]:
            k, v = joint(memory, self.k, self.v)
            return self._split(k), self._split(v)

        def keep() -> tuple[Tensor, ...]:
            # each step reads them: laid out by head once, not every time
            return tuple(heads.contiguous() for heads in project())

        k, v = project() if state is None else state.once(self, keep)
        return self._join(self.attend(self._split(self.q(x)), k, v, frame))
