"""What a search sees of a model: tokens in, logits of what comes next out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from sublayer.layers.cache import joined_rows
from sublayer.layers.place import device_of
from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder, LanguageModel


class Decoding(ABC):
    """Abstract. Texts that grow by a token a step; searches drop, repeat and branch them.

    Each text has the same number of hypotheses, one after another: rows of tokens and of logits.
    """

    @abstractmethod
    def start(self) -> Tensor:
        """Logits `b v` of each text's first token."""

    @abstractmethod
    def step(self, tokens: Tensor, order: Tensor | None = None) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them.

        With an `order`, row i is of row `order[i]`: to move what logits are made of costs less.
        """

    @abstractmethod
    def reorder(self, index: Tensor, width: int = 1) -> None:
        """Row i becomes what row `index[i]` was; from now on each text has `width` rows."""

    @abstractmethod
    def absorb(self, other: Decoding) -> None:
        """Texts that another decoding of the same model has begun go behind these.

        Each text has as many rows in both. The other is of no use from here on.
        """


class _Attending(Decoding):
    """Abstract. Rows of a text are lanes of one row of the state, so they share its past."""

    def __init__(self, n_texts: int) -> None:
        self.state, self.n_texts, self.width = State(), n_texts, 1

    def reorder(self, index: Tensor, width: int = 1) -> None:
        """Row i becomes what row `index[i]` was; from now on each text has `width` rows."""
        before, self.width = self.width, width
        rows = index.view(-1, width)
        texts = rows[:, 0] // before
        if len(texts) != self.n_texts or not _is_in_order(texts):
            self._take(texts)
            self.n_texts = len(texts)
        if before * width > 1:
            self.state.branch(rows - texts.unsqueeze(1) * before)

    def _take(self, texts: Tensor) -> None:
        """Text i becomes what text `texts[i]` was."""
        self.state.reorder(texts)

    def absorb(self, other: Decoding) -> None:
        """Texts that another decoding of the same model has begun go behind these."""
        assert isinstance(other, _Attending)
        assert other.width == self.width
        self._join(other)
        self.n_texts += other.n_texts

    def _join(self, other: _Attending) -> None:
        self.state.absorb(other.state)


@final
class FromSource(_Attending):
    """A decoder writes from a memory `b k m`, beginning with the token `start`."""

    def __init__(
        self, network: EncoderDecoder, memory: Tensor, source_valid: Tensor | None, start: int
    ) -> None:
        super().__init__(len(memory))
        self.network, self.memory, self.source_valid = network, memory, source_valid
        self.first = start

    def start(self) -> Tensor:
        """Logits `b v` of each text's first token."""
        return self.step(torch.full((len(self.memory),), self.first, device=self.memory.device))

    def step(self, tokens: Tensor, order: Tensor | None = None) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them."""
        new = tokens.view(-1, self.width)
        given = self.memory, self.source_valid, self.state
        return self.network.head(_in_order(self.network.decode_hidden(new, *given), order))

    def _take(self, texts: Tensor) -> None:
        super()._take(texts)
        self.memory = self.memory[texts]
        self.source_valid = None if self.source_valid is None else self.source_valid[texts]

    def _join(self, other: _Attending) -> None:
        assert isinstance(other, FromSource)
        valid = (self._all_valid(), other._all_valid())
        k = max(rows.shape[1] for rows in valid)
        both = torch.cat([F.pad(rows, (0, k - rows.shape[1])) for rows in valid])
        longest = int(both.any(0).nonzero()[-1]) + 1  # where the longest were among those that left
        self.state.absorb(other.state, longest)
        self.source_valid = both[:, :longest]
        self.memory = joined_rows(self.memory, other.memory, longest)

    def _all_valid(self) -> Tensor:
        if self.source_valid is not None:
            return self.source_valid
        return self.memory.new_ones(self.memory.shape[:2], dtype=torch.bool)


@final
class FromPrompt(_Attending):
    """A language model goes on from prompts of at least one token, which may differ in length."""

    def __init__(self, network: LanguageModel, prompts: Sequence[Sequence[int]]) -> None:
        super().__init__(len(prompts))
        assert all(prompts), "a language model needs a token to go on from"
        self.network, self.prompts = network, prompts

    def start(self) -> Tensor:
        """Logits `b v` of each text's first token, from one pass over all prompts."""
        device = device_of(self.network)
        lengths = torch.tensor([len(prompt) for prompt in self.prompts])
        longest = int(lengths.max())
        ids = torch.tensor([[*p, *[0] * (longest - len(p))] for p in self.prompts], device=device)
        valid = None
        if int(lengths.min()) < longest:
            valid = (torch.arange(longest) < lengths.unsqueeze(1)).to(device)
        hidden = self.network.hidden(ids, valid, self.state)  # b n m
        rows = torch.arange(len(ids), device=device)
        return self.network.head(hidden[rows, lengths.to(device) - 1])

    def step(self, tokens: Tensor, order: Tensor | None = None) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them."""
        hidden = self.network.hidden(tokens.view(-1, self.width), state=self.state)
        return self.network.head(_in_order(hidden, order))


def _is_in_order(index: Tensor) -> bool:
    return torch.equal(index, torch.arange(len(index), device=index.device))


def _in_order(hidden: Tensor, order: Tensor | None) -> Tensor:
    """`b w m` as rows `r m`, in their order or another."""
    rows = hidden.flatten(0, 1)
    return rows if order is None else rows[order]
