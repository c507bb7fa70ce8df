"""ViT: what its parts do, what cannot be built or read."""

from __future__ import annotations

import re

import pytest
import torch

import sublayer
from sublayer.models.base import ImageEncoder, configure
from sublayer.models.huggingface import write_network

SMALL = {"image_size": 8, "patch_size": 4, "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24}


def network(**keys) -> ImageEncoder:
    return sublayer.build("vit", **SMALL | keys).eval()


def test_patches_are_cut_and_projected_as_written_out():
    """Dosovitskiy et al. 2021, equation 1, in loops."""
    embed = network(n_channels=2).embed
    torch.nn.init.normal_(embed.first)
    images = torch.randn(1, 2, 8, 12)
    embed.side, embed.positions = 2, torch.nn.Parameter(torch.zeros(5, 16))
    rows = [embed.first[0]]
    for top in (0, 4):
        for left in (0, 4, 8):
            patch = images[0, :, top : top + 4, left : left + 4]
            rows.append((embed.patches.weight * patch).sum((1, 2, 3)) + embed.patches.bias)
    torch.testing.assert_close(embed(images)[0], torch.stack(rows))


def test_what_it_gives_has_its_shape():
    images = torch.randn(3, 3, 8, 8)
    assert network(n_labels=7)(images).shape == (3, 7)
    assert network(n_labels=7, pooler=True)(images).shape == (3, 7)
    assert network(head="none")(images).shape == (3, 16)
    assert network().hidden(images).shape == (3, 5, 16)
    assert network().hidden(torch.randn(3, 3, 16, 8)).shape == (3, 9, 16)


def test_without_a_pooler_the_vector_is_the_class_token():
    images, bare = torch.randn(2, 3, 8, 8), network(head="none")
    torch.testing.assert_close(bare(images), bare.hidden(images)[:, 0])


def test_an_image_does_not_feel_its_neighbours():
    model, images = network(), torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))


def test_every_parameter_has_a_gradient():
    model = network(pooler=True).train()
    model(torch.randn(2, 3, 12, 8)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_it_learns():
    """Four patterns of stripes, told apart after a few steps."""
    model = network(n_channels=1, n_labels=4).train()
    grid = torch.arange(8)
    patterns = [grid[:, None] % 2, grid % 2, (grid[:, None] + grid) % 2, grid // 4]
    images = torch.stack([p.expand(8, 8).float() for p in patterns]).unsqueeze(1)
    images, labels = images.repeat(8, 1, 1, 1), torch.arange(4).repeat(8)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        noisy = images + 0.3 * torch.randn_like(images)
        loss = torch.nn.functional.cross_entropy(model(noisy), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.eval()(images).argmax(1) == labels).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 10, 8), "images of 10 x 8 pixels are no whole patches of 4 x 4; resize or pad"),
        ((1, 3, 8, 2), "images of 8 x 2 pixels are no whole patches of 4 x 4"),
        ((1, 1, 8, 8), "images of 1 channels, but the model reads 3; convert them or build it"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        network()(torch.randn(shape))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_size": 10}, "image_size 10 is not divisible by patch_size 4; change one"),
        ({"n_heads": 3}, "d_model 16 is not divisible by n_heads 3; change one"),
    ],
)
def test_what_cannot_be_built_says_why(keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        configure("vit", **SMALL | keys)


def test_classes_from_a_pooler_are_not_written_for_transformers(tmp_path):
    config = configure("vit", **SMALL, pooler=True)
    with pytest.raises(ValueError, match="no architecture for a 'vit' with pooler = true; keep"):
        write_network(config.build(), "vit", config, tmp_path)
