"""What loops do to single numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from sublayer.loops.compiled import compiled

EXP2 = np.polynomial.Chebyshev.interpolate(np.exp2, 6, [0, 1])
C0, C1, C2, C3, C4, C5, C6 = (
    np.float32(c) for c in EXP2.convert(kind=np.polynomial.Polynomial).coef
)
LOG2_E = np.float32(np.log2(np.e))
LOWEST = np.float32(-126)
MAGNITUDE = np.int32(0x7FFFFFFF)


@compiled
def exp(x: np.float32) -> np.float32:
    """e^x of a float32 that is no more than 0, to some 1e-7 of it; NaN stays NaN.

    2 to the whole part is written as a float's bits, 2 to the rest is a polynomial.
    """
    power = x * LOG2_E
    power = LOWEST if power < LOWEST else power
    whole = np.floor(power)
    f = power - whole
    part = C0 + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return part * bits.view(np.float32)


@compiled
def gated(x: np.float32, gate: np.float32) -> np.float32:
    """x / (1 + e^-gate)."""
    small = exp(-abs(gate))
    return x * (np.float32(1) if gate >= 0 else small) / (np.float32(1) + small)


@compiled
def ordered(x: np.float32) -> np.int32:
    """A float32 as an int32 in the same order, by which vectors find the largest; NaN is beyond."""
    bits = np.float32(x).view(np.int32)
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & MAGNITUDE))


@compiled
def unordered(bits: np.int32) -> np.float32:
    """The float32 that `ordered` made this of."""
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & MAGNITUDE)).view(np.float32)


def wide(x: Any) -> Any:
    """A float32, or a bfloat16 as uint16, as float32."""
    raise NotImplementedError  # in loops it is what stands below


@overload(wide, inline="always", strict=False)
def _wide(x: Any) -> Any:
    if isinstance(x, types.Float):
        return lambda x: x
    return lambda x: np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)


@compiled
def bfloat16(x: np.float32) -> np.uint16:
    """The nearest bfloat16, of two the even one."""
    bits = np.float32(x).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


def narrow(x: Any, like: Any) -> Any:
    """A float32 as it is, or as a bfloat16 where `like` is one."""
    raise NotImplementedError


@overload(narrow, inline="always", strict=False)
def _narrow(x: Any, like: Any) -> Any:
    if isinstance(like, types.Float):
        return lambda x, like: x
    return lambda x, like: bfloat16(x)
