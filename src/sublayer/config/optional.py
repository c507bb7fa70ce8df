"""Packages that only some recipes need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(what: str, package: str, extra: str) -> Iterator[None]:
    """Around the import of `package`, which `what` needs and our extra `extra` installs.

    Raises:
        ValueError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{what} needs the package {package}: pip install 'sublayer[{extra}]'"
        ) from error
