"""What a search sees of a model: tokens in, logits of what comes next out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sublayer.layers.state import State
from sublayer.models.base import EncoderDecoder, LanguageModel


class Decoding(ABC):
    """Abstract. Texts that grow by a token a step, one a row; searches drop and repeat rows."""

    @abstractmethod
    def start(self) -> Tensor:
        """Logits `b v` of each row's first token."""

    @abstractmethod
    def step(self, tokens: Tensor) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them."""

    @abstractmethod
    def reorder(self, index: Tensor) -> None:
        """Row i becomes what row `index[i]` was."""


@final
class FromSource(Decoding):
    """A decoder writes from a memory `b k m`, beginning with the token `start`."""

    def __init__(
        self, network: EncoderDecoder, memory: Tensor, source_valid: Tensor | None, start: int
    ) -> None:
        self.network, self.memory, self.source_valid = network, memory, source_valid
        self.first, self.state = start, State()
        self.sources = torch.arange(len(memory), device=memory.device)  # which a row belongs to

    def start(self) -> Tensor:
        """Logits `b v` of each row's first token."""
        return self.step(torch.full_like(self.sources, self.first))

    def step(self, tokens: Tensor) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them."""
        new = tokens.unsqueeze(1)
        return self.network.decode(new, self.memory, self.source_valid, self.state)[:, -1]

    def reorder(self, index: Tensor) -> None:
        """Row i becomes what row `index[i]` was."""
        sources = self.sources[index]
        # beams of one source share what was made from it, and it is larger than what they wrote
        moved = not torch.equal(sources, self.sources)
        self.state.reorder(index, once=moved)
        if moved:
            self.sources, self.memory = sources, self.memory[index]
            self.source_valid = None if self.source_valid is None else self.source_valid[index]


@final
class FromPrompt(Decoding):
    """A language model goes on from prompts of at least one token, which may differ in length."""

    def __init__(self, network: LanguageModel, prompts: Sequence[Sequence[int]]) -> None:
        assert all(prompts), "a language model needs a token to go on from"
        self.network, self.prompts, self.state = network, prompts, State()

    def start(self) -> Tensor:
        """Logits `b v` of each row's first token, from one pass over all prompts."""
        device = next(self.network.parameters()).device
        lengths = torch.tensor([len(prompt) for prompt in self.prompts])
        longest = int(lengths.max())
        ids = torch.tensor([[*p, *[0] * (longest - len(p))] for p in self.prompts], device=device)
        valid = None
        if int(lengths.min()) < longest:
            valid = (torch.arange(longest) < lengths.unsqueeze(1)).to(device)
        hidden = self.network.hidden(ids, valid, self.state)  # b n m
        rows = torch.arange(len(ids), device=device)
        return self.network.head(hidden[rows, lengths.to(device) - 1])

    def step(self, tokens: Tensor) -> Tensor:
        """The tokens just written, `r` -> logits `r v` of those after them."""
        return self.network(tokens.unsqueeze(1), state=self.state)[:, -1]

    def reorder(self, index: Tensor) -> None:
        """Row i becomes what row `index[i]` was."""
        self.state.reorder(index)
