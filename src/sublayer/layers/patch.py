"""Images to vectors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.precision import product_dtype


@final
class PatchEmbedding(nn.Module):
    """[class] and the patches, each projected, plus learned positions (Dosovitskiy et al. 2021).

    Equation 1: one convolution projects every patch. The positions are those of images of
    `image_size` squared; for others their grid is stretched by bicubic interpolation (section 3.2).
    """

    def __init__(self, image_size: int, patch_size: int, n_channels: int, d_model: int) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(
                f"image_size {image_size} is not divisible by patch_size {patch_size}; change one"
            )
        self.side = image_size // patch_size
        self.patches = nn.Conv2d(n_channels, d_model, patch_size, patch_size)
        self.first = nn.Parameter(torch.zeros(1, d_model))
        self.positions = nn.Parameter(torch.empty(1 + self.side**2, d_model))
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """`b c h w` -> `b n m`; patches in rows, from the upper left on.

        Raises:
            ValueError: the images have other channels, or no whole number of patches.
        """
        self._check(images)
        grid = self.patches(images)
        x = torch.cat((self.first.expand(len(grid), 1, -1), grid.flatten(2).mT), 1)
        x = x + self._positions(grid.shape[2], grid.shape[3])
        return x.to(product_dtype(x))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images its positions are those of."""
        size = self.side * self.patches.kernel_size[0]
        return self.patches.in_channels, size, size

    def _check(self, images: Tensor) -> None:
        size, channels = self.patches.kernel_size[0], self.patches.in_channels
        height, width = images.shape[2:]
        if images.shape[1] != channels:
            raise ValueError(
                f"images of {images.shape[1]} channels, but the model reads {channels}; convert "
                "them or build it with another n_channels"
            )
        if height % size or width % size:
            raise ValueError(
                f"images of {height} x {width} pixels are no whole patches of {size} x {size}; "
                f"resize or pad them to multiples of {size}"
            )

    def _positions(self, rows: int, columns: int) -> Tensor:
        """`n m` for a grid of patches."""
        if (rows, columns) == (self.side, self.side):
            return self.positions
        grid = self.positions[1:].unflatten(0, (self.side, self.side)).permute(2, 0, 1)
        grid = F.interpolate(grid[None], (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat((self.positions[:1], grid[0].flatten(1).mT))
