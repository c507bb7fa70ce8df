"""Raw text in, raw text out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sublayer.data.batch import pad_source
from sublayer.generation.batches import batches
from sublayer.generation.generate import Options, asked, generate, streams_of
from sublayer.generation.hypothesis import Hypothesis, SearchOptions
from sublayer.generation.pieces import Pieces
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
        out: list[list[Prediction]] = [[] for _ in texts]
        for rows, source, valid in self._batches(list(texts), options):
            for draw in range(draws):
                pieces = [self._pieces() for _ in rows] if options.stop else ()
                found = generate(
                    self.network,
                    source,
                    valid,
                    options,
                    self.tokenizers.target.special,
                    streams=streams_of(options, [first + row for row in rows], draw),
                    pieces=pieces,
                )
                for row, hypotheses in zip(rows, found, strict=True):
                    out[row] += [self._prediction(h) for h in hypotheses]
            if progress is not None:
                progress(len(rows))
        return out

    def _pieces(self) -> Pieces:
        return Pieces(self.tokenizers.target.decode, (), self.options.stop)

    def _prediction(self, found: Hypothesis) -> Prediction:
        stops = self.options.stop
        decode = self._pieces().all if stops else self.tokenizers.target.decode
        return Prediction(decode(found.ids), found.logprob, found.score)

    def _batches(
        self, texts: list[str], options: Options
    ) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
        """Row numbers, ids and which of them are real of each batch, of texts of like length."""
        sources = self.tokenizers.source.encode_batch(texts)
        self.shortened += sum(len(ids) > self.max_source for ids in sources)
        sources = [ids[: self.max_source] for ids in sources]
        device = next(self.network.parameters()).device
        beam = options.beam if isinstance(options, SearchOptions) else 1
        for rows in batches([len(ids) + 1 for ids in sources], self.batch_tokens // beam):
            source, valid = pad_source([sources[i] for i in rows], self.tokenizers.source.special)
            yield rows, source.to(device), None if valid is None else valid.to(device)
