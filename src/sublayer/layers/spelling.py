"""Words from their letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.convolution import WordWindows
from sublayer.layers.joint import joint
from sublayer.layers.mask import Padding
from sublayer.layers.precision import product_dtype

CARRY = -1.0
"""Where a gate's bias begins: most of the input goes on as it is."""


@final
class Highway(nn.Module):
    """t g(W x + b) + (1 - t) x with the gate t = sigmoid(W_t x + b_t), g a ReLU.

    Srivastava et al. 2015, "Highway networks", eq. 3; Kim et al. 2016, eq. 8.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.transform, self.gate = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def begin_open(self) -> None:
        """The gates' biases negative, so that what is read passes at first (section 2.2)."""
        nn.init.constant_(self.gate.bias, CARRY)

    def forward(self, x: Tensor) -> Tensor:
        """`... m` -> `... m`."""
        gate, new = joint(x, self.gate, self.transform)
        return torch.lerp(x, F.relu(new).to(x.dtype), gate.sigmoid().to(x.dtype))


@final
class SpelledWords(nn.Module):
    """Vectors of words from their letters, so that no word is unknown.

    Windows over the letters' vectors, the largest of each feature over the word, highway layers and
    a projection (Kim et al. 2016, section 2; Jozefowicz et al. 2016, section 3; Peters et al. 2018,
    section 3.4). Windows lie in the word, so padding is not seen.
    """

    def __init__(
        self,
        letters: nn.Embedding,
        windows: WordWindows,
        highways: Sequence[Highway],
        out: nn.Linear,
        padding: int = 0,
    ) -> None:
        """`padding` is the letter that is none."""
        super().__init__()
        self.letters, self.windows, self.out = letters, windows, out
        self.highways, self.padding = nn.Sequential(*highways), padding

    def forward(self, letters: Tensor) -> Tensor:
        """`b n c` -> `b n m`."""
        words = letters.flatten(0, 1)
        x = self.letters(words)
        found = self.windows.features(x.to(product_dtype(x)), Padding(words != self.padding))
        features = torch.cat([of_width.amax(1) for of_width in found], -1)
        return self.out(self.highways(features)).unflatten(0, letters.shape[:2])
