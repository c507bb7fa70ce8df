"""Raw text in, raw text out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from sublayer.data.batch import pad_source
from sublayer.generation.batches import batches
from sublayer.generation.generate import generate
from sublayer.generation.hypothesis import Hypothesis, SearchOptions
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

    `network` is the `nn.Module`, `tokenizers` are the two sides', `options` are the search's.
    """

    def __init__(
        self,
        network: EncoderDecoder,
        tokenizers: Tokenizers,
        options: SearchOptions,
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
        self, texts: Sequence[str], n: int, progress: Callable[[int], None] | None = None
    ) -> list[list[Prediction]]:
        """The `n` best outputs of each text, best first.

        `progress` hears after each batch how many texts it finished.
        """
        if isinstance(texts, str):
            raise ValueError("give a list of texts, not one text")
        options = replace(self.options, n_best=n)
        out: list[list[Prediction]] = [[] for _ in texts]
        for rows, found in self._batches(list(texts), options):
            for row, hypotheses in zip(rows, found, strict=True):
                out[row] = [self._prediction(h) for h in hypotheses]
            if progress is not None:
                progress(len(rows))
        return out

    def _prediction(self, found: Hypothesis) -> Prediction:
        return Prediction(self.tokenizers.target.decode(found.ids), found.logprob, found.score)

    def _batches(
        self, texts: list[str], options: SearchOptions
    ) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """Row numbers and outputs of each batch; texts of like length go together."""
        sources = self.tokenizers.source.encode_batch(texts)
        self.shortened += sum(len(ids) > self.max_source for ids in sources)
        sources = [ids[: self.max_source] for ids in sources]
        device = next(self.network.parameters()).device
        lengths = [len(ids) + 1 for ids in sources]
        for rows in batches(lengths, self.batch_tokens // options.beam):
            source, valid = pad_source([sources[i] for i in rows], self.tokenizers.source.special)
            valid = None if valid is None else valid.to(device)
            yield (
                rows,
                generate(
                    self.network, source.to(device), valid, options, self.tokenizers.target.special
                ),
            )
