"""A name for a part: one dictionary a shelf, with an error that names the nearest entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """A half-sentence that names the entry of `known` closest to `name`, or lists what there is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"


class Registry(Generic[T]):
    """Parts of one kind by name; `kind` is the word used in errors."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Decorator that files a part under `name`."""

        def file(entry: T) -> T:
            assert name not in self._entries, f"{self.kind} '{name}' is filed twice"
            self._entries[name] = entry
            return entry

        return file

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise ValueError(f"unknown {self.kind} '{name}'; {nearest(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries
