"""How loops are compiled: by numba, when first called; they are kept on disk for the next time."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from threading import local
from typing import Any

import numba
from llvmlite import binding
from numba.core import event

config: Any = numba.config
config.THREADING_LAYER = "omp"  # PyTorch's own threads: others would wait for these
FAST = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order, as vectors do; NaN and infinity stay what they are."""

Loop = Callable[..., Any]


def compiled(loop: Loop) -> Loop:
    """A loop for one thread."""
    return _made(loop, cache=True)


def inlined(loop: Loop) -> Loop:
    """A loop that becomes part of those that call it: to hand over four arrays takes 20 ns."""
    return _made(loop, inline="always")


def compiled_for_c(signature: str) -> Callable[[Loop], Any]:
    """A loop as a function of C, that needs no Python while it goes on."""

    def make(loop: Loop) -> Any:
        plain = inspect.unwrap(loop)
        return numba.cfunc(signature, fastmath=FAST, error_model="numpy")(plain)

    return make


def compiled_for_threads(loop: Loop) -> Loop:
    """A loop whose `numba.prange` is shared by threads."""
    return _made(loop, cache=True, parallel=True)


@cache
def _version() -> str:
    """Of all loops: numba alone would look at the file of one, and not at those of its parts."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _made(loop: Loop, **options: Any) -> Loop:
    plain = inspect.unwrap(loop)
    plain.__qualname__ += f"_{_version()}"  # it is kept under this name

    def make(**options: Any) -> Loop:
        return numba.njit(fastmath=FAST, error_model="numpy", **options)(plain)

    try:
        return make(**options)
    except RuntimeError:  # neither beside the source nor in the user's folder can it be kept
        return make(**{**options, "cache": False})


class _Told(local):
    """How many threads numba was told to take by this one; to ask it takes longer than a loop."""

    threads = 0


_told = _Told()


def n_threads() -> int:
    """Threads for a loop: as many as PyTorch takes.

    They are the same threads, and numba's first look at them changes how many PyTorch takes.
    """
    import torch  # whoever has loops of several threads has it; those of one go without

    threads = torch.get_num_threads()
    if threads == 1 or not _share_threads():
        return 1
    if threads != _told.threads:
        numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
        torch.set_num_threads(threads)
        _told.threads = threads
    return threads


@cache
def _share_threads() -> bool:
    """Whether numba has OpenMP here, as PyTorch does."""
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError:
        return False
    return True


def multiplies_bytes() -> bool:
    """Whether this processor adds up products of bytes, 64 at a time, and numba writes for it."""
    if config.CPU_NAME or config.CPU_FEATURES or not config.ENABLE_AVX:
        return False
    return bool(binding.get_host_cpu_features().get("avx512vnni"))


class _Notice(event.Listener):
    """Says once to who sits in front of it why nothing happens for a while."""

    told = False

    def on_start(self, event: event.Event) -> None:
        if not self.told and sys.stderr.isatty():
            print("compiling loops for this processor, once: some 25 seconds", file=sys.stderr)
        self.told = True

    def on_end(self, event: event.Event) -> None:
        """Nothing is said."""


event.register("numba:compile", _Notice())
