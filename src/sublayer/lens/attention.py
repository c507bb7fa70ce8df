"""Where the decoder looks: the cross-attention of every layer and head for one text."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from sublayer.layers.place import device_of
from sublayer.lens.record import record
from sublayer.models.base import EncoderDecoder
from sublayer.text.tokenizer import Tokenizers

WEIGHTS = "decoder.*cross.*weights"
"""Where every family of two parts has the weights of its decoder's looks at the source."""


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """Attention weights `layers h q k`, with what stands on their axes.

    Row q is the distribution the model looked at the source with when it wrote `target_pieces[q]`.
    """

    source: str
    target: str
    source_pieces: list[str]
    target_pieces: list[str]
    weights: Tensor


@torch.no_grad()
def cross_attention(
    network: EncoderDecoder, tokenizers: Tokenizers, text: str, output: str
) -> AttentionMaps:
    """The weights with which the decoder looks at `text` while it writes `output`, dropout off.

    Every token is given its true past, so `output` may be the model's own or any other. The last
    row and the last column are the end of the sequence.

    Raises:
        ValueError: a text is longer than the network can read, or its decoder looks nowhere.
    """
    if not any(fnmatchcase(path, WEIGHTS) for path, _ in network.named_modules()):
        raise ValueError(
            "this model has no attention to draw: its decoder is given the source as one vector; "
            "inspect one that was trained with attention"
        )
    source_end, target = tokenizers.source.special.eos, tokenizers.target.special
    source_ids = [*tokenizers.source.encode(text), source_end]
    target_ids = [target.bos, *tokenizers.target.encode(output), target.eos]
    device = device_of(network)
    training = network.training
    network.eval()
    try:
        with record(network, WEIGHTS) as heard:
            network(
                torch.tensor([source_ids], device=device),
                torch.tensor([target_ids[:-1]], device=device),
            )
    finally:
        network.train(training)
    return AttentionMaps(
        source=text,
        target=output,
        source_pieces=tokenizers.source.pieces(source_ids),
        target_pieces=tokenizers.target.pieces(target_ids[1:]),
        weights=torch.cat(list(heard.values())).float().cpu(),
    )
