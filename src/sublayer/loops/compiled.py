"""How loops are compiled: by numba, when first called; they are kept on disk for the next time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba
import torch
from llvmlite import binding
from numpy.typing import NDArray

config: Any = numba.config
config.THREADING_LAYER = "omp"  # PyTorch's own threads: others would wait for these
FAST = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order, as vectors do; NaN and infinity stay what they are."""

Array = NDArray[Any]
Loop = Callable[..., Any]


def compiled(loop: Loop) -> Loop:
    """A loop for one thread."""
    return numba.njit(cache=True, fastmath=FAST, error_model="numpy")(inspect.unwrap(loop))


def inlined(loop: Loop) -> Loop:
    """A loop that becomes part of those that call it: to hand over four arrays takes 20 ns."""
    made = numba.njit(fastmath=FAST, error_model="numpy", inline="always")
    return made(inspect.unwrap(loop))


def compiled_for_threads(loop: Loop) -> Loop:
    """A loop whose `numba.prange` is shared by threads."""
    made = numba.njit(cache=True, fastmath=FAST, error_model="numpy", parallel=True)
    return made(inspect.unwrap(loop))


def n_threads() -> int:
    """Threads for a loop: as many as PyTorch takes.

    They are the same threads, and numba's first look at them would change how many PyTorch takes.
    """
    threads = torch.get_num_threads()
    if threads > 1:
        if numba.get_num_threads() != threads:
            numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
    return threads


def multiplies_bytes() -> bool:
    """Whether this processor adds up products of bytes, 64 at a time."""
    return bool(binding.get_host_cpu_features().get("avx512vnni"))
