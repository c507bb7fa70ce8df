"""Language models that read text in both directions."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from sublayer.layers.bidirectional import BidirectionalStack
from sublayer.layers.mask import Padding


@final
class BidirectionalModel(nn.Module):
    """Each word told from those before it and from those behind it, by one head.

    `embed` makes vectors of words from their letters.
    """

    def __init__(self, embed: nn.Module, stack: BidirectionalStack, head: nn.Linear) -> None:
        super().__init__()
        self.embed, self.stack, self.head = embed, stack, head

    def hidden(self, letters: Tensor, valid: Tensor | None = None) -> Tensor:
        """Letters `b n c` -> all layers side by side, `b n (l 2m)`; `valid` is `b n`."""
        return self.stack(self.embed(letters), None if valid is None else Padding(valid))

    def layers(self, hidden: Tensor) -> Tensor:
        """What `hidden` gave, layer by layer: `b n l 2m`."""
        return hidden.unflatten(-1, (-1, 2 * self.head.in_features))

    def directions(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer of each: `b n m` that tells the next word, `b n m` the one before."""
        forward, backward = self.layers(hidden)[..., -1, :].chunk(2, -1)
        return forward, backward

    def forward(self, letters: Tensor, valid: Tensor | None = None) -> Tensor:
        """Letters `b n c` -> logits of the next word and of the one before, `b n 2 v`."""
        return self.head(torch.stack(self.directions(self.hidden(letters, valid)), -2))
