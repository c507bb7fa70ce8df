"""Packages that only some kinds of data need."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sublayer.config import optional


def needs(package: str, extra: str) -> AbstractContextManager[None]:
    """Around the import of `package`, which the package's extra `extra` installs.

    Raises:
        ValueError: it is not installed.
    """
    return optional.needs("this kind of data", package, extra)
