"""Text as it becomes certain, token by token, and whether a stop string is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import final

from sublayer.generation.stopping import cut

Decode = Callable[[Sequence[int]], str]
"""Ids -> their text."""

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What decoders write for a part of a character."""


@final
class Pieces:
    """The text that ids add to those `before` them, as they come one by one.

    Never a part of a character, never a part of a `stop` string. `stopped` tells whether one was
    met, before which the text ends.
    """

    def __init__(
        self, decode: Decode, before: Sequence[int] = (), stop: Sequence[str] = ()
    ) -> None:
        self._decode, self._stop = decode, stop
        # what an id reads like depends on those before it, a space between them for one; so those
        # of the last piece are decoded again, of which the first _known ids are no news
        self._ids, self._known = list(before), len(before)
        self._held, self.stopped = "", False

    def push(self, token: int) -> str:
        """The text that has become certain with this token."""
        assert not self.stopped, "nothing comes after a stop string"
        self._ids.append(token)
        new = self._new()
        if not new or new.endswith(UNFINISHED):
            return ""
        self._ids, self._known = self._ids[self._known :], len(self._ids) - self._known
        return self._release(new)

    def then(self, token: int) -> Pieces:
        """What these become with one token more, unless they have stopped; themselves unchanged."""
        other = Pieces(self._decode, self._ids, self._stop)
        other._known, other._held, other.stopped = self._known, self._held, self.stopped
        if not self.stopped:
            other.push(token)
        return other

    def all(self, ids: Iterable[int]) -> str:
        """The text of all that comes, up to a stop string."""
        certain = []
        for token in ids:
            certain.append(self.push(token))
            if self.stopped:
                break
        return "".join([*certain, self.finish()])

    def finish(self) -> str:
        """What is left when nothing more comes; a part of a character is no text."""
        return "" if self.stopped else self._release(self._new().rstrip(UNFINISHED)) + self._held

    def _new(self) -> str:
        return self._decode(self._ids)[len(self._decode(self._ids[: self._known])) :]

    def _release(self, new: str) -> str:
        certain, self._held, self.stopped = cut(self._held + new, self._stop)
        return certain
