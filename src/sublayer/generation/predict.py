"""Raw text in, raw text out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sublayer.data.batch import pad_source
from sublayer.generation.batches import Waiting
from sublayer.generation.generate import Options, asked, read_source, searching, streams_of
from sublayer.generation.hypothesis import Hypothesis, SearchOptions
from sublayer.generation.pieces import Pieces
from sublayer.generation.refill import Cohort, Share, refilled
from sublayer.generation.stopping import Stops
from sublayer.layers.place import device_of
from sublayer.models.base import EncoderDecoder
from sublayer.text.tokenizer import Tokenizers


@dataclass(frozen=True)
class Prediction:
    """One output text, with the log-probability of its tokens and the score it was ranked by."""

    text: str
    logprob: float
    score: float


@final
class Predictor:
    """A trained sequence-to-sequence model with its tokenizers.

    `network` is the `nn.Module`, `tokenizers` are the two sides', `options` a search's or a
    sampling's.
    """

    def __init__(
        self,
        network: EncoderDecoder,
        tokenizers: Tokenizers,
        options: Options,
        *,
        batch_tokens: int = 4096,
        max_source: int = 256,
    ) -> None:
        self.network, self.tokenizers, self.options = network.eval(), tokenizers, options
        self.batch_tokens, self.max_source = batch_tokens, max_source
        self.shortened = 0
        """Texts cut to `max_source` tokens so far."""

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The best output of each text."""
        return [found[0].text for found in self.n_best(texts, 1)]

    @torch.inference_mode()
    def n_best(
        self,
        texts: Sequence[str],
        n: int,
        progress: Callable[[int], None] | None = None,
        *,
        first: int = 0,
    ) -> list[list[Prediction]]:
        """The `n` best outputs of each text, best first, or `n` samples as they were drawn.

        `progress` hears after each batch how many texts it finished. `first` is the number of the
        first in what they are part of: samples follow from numbers.
        """
        if isinstance(texts, str):
            raise ValueError("give a list of texts, not one text")
        options, draws = asked(self.options, n)
        sources = self._encode(list(texts))
        out: list[list[list[Prediction]]] = [[[]] * draws for _ in texts]
        writings = [(row, draw) for row in range(len(texts)) for draw in range(draws)]
        special = self.tokenizers.target.special

        def begin(numbers: list[int]) -> Cohort:
            chosen = [writings[number] for number in numbers]
            source, valid = self._padded([sources[row] for row, _ in chosen])
            decoding, limits = read_source(self.network, source, valid, options, special.bos)
            share = Share(decoding)
            steps = searching(
                share,
                limits,
                options,
                Stops.of(special),
                streams=streams_of(options, [(first + row, draw) for row, draw in chosen]),
                pieces=[self._pieces() for _ in chosen] if options.stop else (),
            )
            return Cohort(numbers, share, steps)

        width = options.beam if isinstance(options, SearchOptions) else 1
        lengths = [len(sources[row]) + 1 for row, _ in writings]
        for cohort in refilled(Waiting(lengths, self.batch_tokens // width), begin, width):
            for number, hypotheses in zip(cohort.numbers, cohort.found, strict=True):
                row, draw = writings[number]
                out[row][draw] = [self._prediction(h) for h in hypotheses]
            if progress is not None:
                progress(sum(writings[number][1] == 0 for number in cohort.numbers))
        return [[found for draw in row for found in draw] for row in out]

    def _pieces(self) -> Pieces:
        return Pieces(self.tokenizers.target.decode, (), self.options.stop)

    def _prediction(self, found: Hypothesis) -> Prediction:
        stops = self.options.stop
        decode = self._pieces().all if stops else self.tokenizers.target.decode
        return Prediction(decode(found.ids), found.logprob, found.score)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        sources = self.tokenizers.source.encode_batch(texts)
        self.shortened += sum(len(ids) > self.max_source for ids in sources)
        return [ids[: self.max_source] for ids in sources]

    def _padded(self, sources: list[list[int]]) -> tuple[Tensor, Tensor | None]:
        device = device_of(self.network)
        source, valid = pad_source(sources, self.tokenizers.source.special)
        return source.to(device), None if valid is None else valid.to(device)
