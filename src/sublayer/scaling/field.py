"""How far back a language model looks."""

from __future__ import annotations

from sublayer.layers.block import Stack
from sublayer.layers.convolution import DilatedStack
from sublayer.models.base import LanguageModel


def receptive_field(network: LanguageModel) -> int | None:
    """Tokens that the next one follows from, at most; None where that is all before it.

    Each layer of convolutions adds its span (van den Oord et al. 2016, section 2.1), and each layer
    of attention in a window the window but for the token itself.
    """
    if isinstance(network.stack, DilatedStack):
        return network.stack.receptive_field
    if isinstance(network.stack, Stack) and network.mask.span is not None:
        return 1 + len(network.stack.blocks) * network.stack.rounds * (network.mask.span - 1)
    return None
