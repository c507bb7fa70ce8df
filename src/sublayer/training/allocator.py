"""Memory that is freed and soon wanted again."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next step instead of giving it back.

    Every step of training frees and takes the same large blocks. By default glibc returns them to
    the system, which hands out pages filled with zeros again: 5 to 10 % of a step on a CPU. The
    process keeps what its largest step needed. Does nothing where the C library is another.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, LARGEST)
        libc.mallopt(TRIM_THRESHOLD, LARGEST)
