"""Text in, what a language model writes after it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch

from sublayer.generation.batches import Waiting
from sublayer.generation.decoding import FromPrompt
from sublayer.generation.generate import Options, asked, room, searching, streams_of
from sublayer.generation.hypothesis import Hypothesis, SearchOptions
from sublayer.generation.pieces import Pieces
from sublayer.generation.refill import Cohort, Share, refilled
from sublayer.generation.sample import SampleOptions
from sublayer.generation.stopping import Ids, Stops
from sublayer.generation.streaming import stream
from sublayer.models.base import LanguageModel


@runtime_checkable
class Coder(Protocol):
    """What turns text into ids and back: `text.tokenizer.Tokenizer`, or another's."""

    @property
    def special(self) -> Ids:
        """The special ids."""

    @property
    def opening(self) -> Sequence[int]:
        """Ids before a text: the begin, where there is one."""

    def encode(self, text: str) -> list[int]:
        """Ids, without begin and end."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text; special ids give nothing."""


@dataclass(frozen=True)
class Continuation:
    """What was written after a prompt, with the log-probability of its tokens and its score.

    `logprob` is the model's own, whatever the sampling did to it, of all of `ids` and the end.
    """

    text: str
    """Up to a stop string, if one was met."""
    ids: list[int]
    """With the tokens of the stop string."""
    logprob: float
    score: float
    """What a search ranks by; a sample's is its `logprob`."""
    ended: bool
    """False if the length limit cut it."""


@final
class Continuer:
    """A language model that goes on from texts.

    `options` are a search's or a sampling's. Prompts of unlike length share a batch.
    """

    def __init__(
        self,
        network: LanguageModel,
        tokenizer: Coder,
        options: Options | None = None,
        *,
        batch_tokens: int = 4096,
    ) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.options = SampleOptions() if options is None else options
        self.batch_tokens = batch_tokens
        self.stops = Stops.of(tokenizer.special)

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """What follows each prompt, without the prompt."""
        return [found[0].text for found in self.n_best(prompts, 1)]

    @torch.inference_mode()
    def n_best(
        self,
        prompts: Sequence[str],
        n: int,
        progress: Callable[[int], None] | None = None,
        *,
        first: int = 0,
    ) -> list[list[Continuation]]:
        """The `n` best continuations of each prompt, best first, or `n` samples as they were drawn.

        `progress` hears after each batch how many prompts it finished. `first` is the number of the
        first in what they are part of: samples follow from numbers.

        Raises:
            ValueError: `n` is more than the beam, or a prompt is too long for the model.
        """
        if isinstance(prompts, str):
            raise ValueError("give a list of prompts, not one prompt")
        options, draws = asked(self.options, n)
        ids = [self._encode(prompt) for prompt in prompts]
        limits = room(self.network, ids, options)
        out: list[list[list[Continuation]]] = [[[]] * draws for _ in prompts]
        writings = [(row, draw) for row in range(len(prompts)) for draw in range(draws)]

        def begin(numbers: list[int]) -> Cohort:
            chosen = [writings[number] for number in numbers]
            read = [ids[row] for row, _ in chosen]
            share = Share(FromPrompt(self.network, read))
            steps = searching(
                share,
                [limits[row] for row, _ in chosen],
                options,
                self.stops,
                prompts=read,
                streams=streams_of(options, [(first + row, draw) for row, draw in chosen]),
                pieces=[self._pieces(prompt) for prompt in read] if options.stop else (),
            )
            return Cohort(numbers, share, steps)

        width = options.beam if isinstance(options, SearchOptions) else 1
        lengths = [len(ids[row]) + limits[row] for row, _ in writings]
        for cohort in refilled(Waiting(lengths, self.batch_tokens // width), begin, width):
            for number, hypotheses in zip(cohort.numbers, cohort.found, strict=True):
                row, draw = writings[number]
                out[row][draw] = [self._continuation(ids[row], h) for h in hypotheses]
            if progress is not None:
                progress(sum(writings[number][1] == 0 for number in cohort.numbers))
        return [[found for draw in row for found in draw] for row in out]

    def stream(self, prompt: str) -> Iterator[str]:
        """The same as the text of a call with one prompt, in pieces, as soon as they are certain.

        Raises:
            ValueError: the options are a beam search's, or the prompt is too long for the model.
        """
        ids = self._encode(prompt)
        return stream(self.network, ids, self.options, self.tokenizer.decode, self.stops)

    def _encode(self, prompt: str) -> list[int]:
        return [*self.tokenizer.opening, *self.tokenizer.encode(prompt)]

    def _pieces(self, prompt: list[int]) -> Pieces:
        return Pieces(self.tokenizer.decode, prompt, self.options.stop)

    def _continuation(self, prompt: list[int], found: Hypothesis) -> Continuation:
        text = self._pieces(prompt).all(found.ids)
        return Continuation(text, found.ids, found.logprob, found.score, found.ended)
