"""Text as it is written: in pieces that nothing later can change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sublayer.generation.decoding import FromPrompt
from sublayer.generation.generate import Options, chooser, room
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.pieces import Decode, Pieces
from sublayer.generation.stopping import Stops
from sublayer.generation.walk import walk, walking
from sublayer.models.base import LanguageModel


def stream(
    network: LanguageModel,
    prompt: Sequence[int],
    options: Options,
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
    return _stream(network, prompt, options, limits, Pieces(decode, prompt, options.stop), stops)


def _stream(
    network: LanguageModel,
    prompt: Sequence[int],
    options: Options,
    limits: list[int],
    pieces: Pieces,
    stops: Stops,
) -> Iterator[str]:
    certain: list[str] = []

    def watch(row: int, token: int) -> bool:
        certain.append(pieces.push(token))
        return pieces.stopped

    decoding, choose = FromPrompt(network, [prompt]), chooser(options, 1)
    steps = walking(decoding, choose, limits, stops, options.rules, [prompt], watch)
    for _ in walk(decoding, steps):
        yield from filter(None, certain)
        certain.clear()
    yield from filter(None, [pieces.finish()])
