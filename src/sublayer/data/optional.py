"""Packages that only some kinds of data need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Around the import of `package`, which the package's extra `extra` installs.

    Raises:
        ValueError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(
            f"this kind of data needs the package {package}: pip install 'sublayer[{extra}]'"
        ) from error
