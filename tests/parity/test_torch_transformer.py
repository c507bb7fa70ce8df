"""The whole model equals `torch.nn.Transformer` of the same weights, by name table both ways."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.layers.position import sinusoids
from sublayer.models.base import build
from sublayer.models.names import to_ours, to_theirs
from sublayer.models.transformer import TORCH

V, M, H, FF, LAYERS = 11, 16, 4, 32, 2
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
SOURCE = torch.tensor([[5, 6, 7, 8, 2], [9, 4, 2, 0, 0]])
TARGET = torch.tensor([[1, 4, 5, 6], [1, 7, 8, 0]])
VALID = SOURCE != 0


def torchs(norm, activation):
    """torch's own; its post-norm stacks end with a second norm unless the stacks are given."""
    options = {
        "activation": activation,
        "batch_first": True,
        "norm_first": norm == "pre",
        "dropout": 0.0,
    }
    encoder, decoder = nn.TransformerEncoderLayer, nn.TransformerDecoderLayer
    last = nn.LayerNorm if norm == "pre" else lambda m: None
    return nn.Transformer(
        M,
        H,
        batch_first=True,
        custom_encoder=nn.TransformerEncoder(
            encoder(M, H, FF, **options), LAYERS, last(M), enable_nested_tensor=False
        ),
        custom_decoder=nn.TransformerDecoder(decoder(M, H, FF, **options), LAYERS, last(M)),
    )


def ours(norm, activation):
    return build(
        "transformer",
        vocab_size=V,
        d_model=M,
        n_layers=LAYERS,
        n_heads=H,
        d_ff=FF,
        dropout=0.0,
        norm=norm,
        activation=activation,
    )


def shuffle(network):
    """Weights far from their start, where norms are all ones and biases zero."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)


def body(network):
    """Our parameters but for those torch's has no place for."""
    return {
        name: tensor
        for name, tensor in network.named_parameters()
        if name.startswith(("encoder.", "decoder."))
    }


def logits(network, theirs):
    """Theirs between our embeddings and our head."""
    source, target = (
        embed(ids) + sinusoids(ids.shape[1], M)
        for embed, ids in ((network.source_embed, SOURCE), (network.target_embed, TARGET))
    )
    future = torch.ones(TARGET.shape[1], TARGET.shape[1], dtype=torch.bool).triu(1)
    hidden = theirs(
        source, target, tgt_mask=future, src_key_padding_mask=~VALID, memory_key_padding_mask=~VALID
    )
    return network.head(hidden)


NORMS_AND_ACTIVATIONS = pytest.mark.parametrize(
    ("norm", "activation"), [("post", "relu"), ("post", "gelu"), ("pre", "relu")]
)


@NORMS_AND_ACTIVATIONS
def test_ours_with_their_weights(norm, activation):
    network, theirs = ours(norm, activation), torchs(norm, activation)
    shuffle(theirs)
    missing, unexpected = network.load_state_dict(to_ours(theirs.state_dict(), TORCH), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"source_embed", "target_embed", "head"}
    torch.testing.assert_close(network(SOURCE, TARGET, VALID), logits(network, theirs), **CLOSE)


@NORMS_AND_ACTIVATIONS
def test_theirs_with_our_weights(norm, activation):
    network, theirs = ours(norm, activation), torchs(norm, activation)
    shuffle(network)
    theirs.load_state_dict(to_theirs(body(network), TORCH))
    torch.testing.assert_close(network(SOURCE, TARGET, VALID), logits(network, theirs), **CLOSE)
    network.eval(), theirs.eval()  # torch has kernels of its own for this
    torch.testing.assert_close(network(SOURCE, TARGET, VALID), logits(network, theirs), **CLOSE)


def test_gradients():
    network, theirs = ours("post", "relu"), torchs("post", "relu")
    theirs.load_state_dict(to_theirs(body(network), TORCH))
    network(SOURCE, TARGET, VALID).square().mean().backward()
    logits(network, theirs).square().mean().backward()
    expected = to_ours({name: p.grad for name, p in theirs.named_parameters()}, TORCH)
    for name, parameter in body(network).items():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4, msg=name)
