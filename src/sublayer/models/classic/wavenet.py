"""WaveNet (van den Oord et al. 2016, "WaveNet: a generative model for raw audio"), over tokens."""

from __future__ import annotations

from typing import Annotated, ClassVar, final

from pydantic import Field, PositiveInt
from torch import nn

from sublayer.layers.convolution import CausalConvolution, DilatedStack, GatedConvolution
from sublayer.layers.embedding import TokenEmbedding
from sublayer.layers.init import glorot
from sublayer.models.base import FAMILIES, FamilyConfig, Fraction, LanguageModel


@final
@FAMILIES.add("wavenet")
class WaveNetConfig(FamilyConfig):
    """Keys of WaveNet; the dilations are the paper's, its widths were not published.

    Each stack doubles the dilation from layer to layer, beginning at 1 (section 2.1).
    """

    vocab_size: PositiveInt
    d_model: PositiveInt = 256
    """Width of what goes on from layer to layer: residual channels."""
    d_skip: PositiveInt | None = None
    """Width of what is skipped to the end; None: 2 d_model."""
    n_layers: Annotated[int, Field(ge=1, le=24)] = 10
    """Of each stack: the last has dilation 2^(n_layers - 1)."""
    n_stacks: PositiveInt = 3
    kernel: Annotated[int, Field(ge=2)] = 2
    """Inputs of a convolution."""
    dropout: Fraction = 0.0
    """On the output of the gates; the paper has none."""

    SIZES: ClassVar = {
        "tiny": {"d_model": 64, "n_layers": 6, "n_stacks": 1},
        "small": {"d_model": 128, "n_layers": 7, "n_stacks": 2},
        "base": {"d_model": 256, "n_layers": 10, "n_stacks": 3},
    }

    def build(self) -> LanguageModel:
        """The network, initialized."""
        m, width = self.d_model, self.d_skip or 2 * self.d_model
        dilations = [2**i for _ in range(self.n_stacks) for i in range(self.n_layers)]
        blocks = [
            GatedConvolution(
                m,
                width,
                self.kernel,
                dilation,
                dropout=self.dropout,
                is_last=place == len(dilations),
            )
            for place, dilation in enumerate(dilations, 1)
        ]
        table = nn.Embedding(self.vocab_size, m)
        stack = DilatedStack(CausalConvolution(m, m, self.kernel), blocks, width)
        network = LanguageModel(TokenEmbedding(table), stack, nn.Linear(width, self.vocab_size))
        glorot(network)
        nn.init.normal_(table.weight)  # of unit variance: no norm follows
        for name, weight in stack.named_parameters():
            if name.endswith(("residual.weight", "skip.weight")):
                weight.data *= len(dilations) ** -0.5  # so many of them are added up
        return network
