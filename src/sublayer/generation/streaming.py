"""Text as it is written: in pieces that nothing later can change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import final

from sublayer.generation.decoding import FromPrompt
from sublayer.generation.generate import chooser, room
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.sample import SampleOptions
from sublayer.generation.stopping import Stops, cut
from sublayer.generation.walk import walk
from sublayer.models.base import LanguageModel

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


def stream(
    network: LanguageModel,
    prompt: Sequence[int],
    options: SearchOptions | SampleOptions,
    decode: Decode,
    stops: Stops,
) -> Iterator[str]:
    """Pieces of the text that follows the prompt's ids, as they become certain.

    `decode` turns ids into text. Joined, they are what the same options give at once.

    Raises:
        ValueError: a beam search was asked for, or the prompt is empty or longer than the model.
    """
    if isinstance(options, SearchOptions) and options.beam > 1:
        raise ValueError("a beam search knows its text at the end only; stream with beam=1")
    limits = room(network, [prompt], options)
    stop = options.stop if isinstance(options, SampleOptions) else ()
    return _stream(network, prompt, options, limits, Pieces(decode, prompt, stop), stops)


def _stream(
    network: LanguageModel,
    prompt: Sequence[int],
    options: SearchOptions | SampleOptions,
    limits: list[int],
    pieces: Pieces,
    stops: Stops,
) -> Iterator[str]:
    certain: list[str] = []

    def watch(row: int, token: int) -> bool:
        certain.append(pieces.push(token))
        return pieces.stopped

    choose = chooser(options, [prompt])
    for _ in walk(FromPrompt(network, [prompt]), choose, limits, stops, watch):
        yield from filter(None, certain)
        certain.clear()
    yield from filter(None, [pieces.finish()])
