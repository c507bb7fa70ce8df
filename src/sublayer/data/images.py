"""Pictures and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sublayer.config.data import ImagesData
from sublayer.data.example import Picture
from sublayer.data.optional import needs

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


def read_digits() -> Iterator[Picture]:
    """Handwritten digits, `1 8 8`, from scikit-learn.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    with needs("scikit-learn", "demo"):
        from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    for picture, label in zip(pixels, labels.tolist(), strict=True):
        yield Picture(picture, str(label))


def read_images(data: ImagesData, folder: str) -> Iterator[Picture]:
    """The images in `folder`/LABEL/, scaled to a square, `c h w`.

    Raises:
        ValueError: there is no such folder, it has no folder of images, one lies beside those
            folders, or an image cannot be read.
    """
    home = Path(folder)
    if not home.is_dir():
        raise ValueError(
            f"there is no folder {folder} (seen from {Path.cwd()}): correct its path in [data]"
        )
    files = sorted(
        file.relative_to(home) for file in home.rglob("*") if file.suffix.lower() in SUFFIXES
    )
    if not files:
        raise ValueError(
            f"there is no image in the folder {folder}: put those of each label "
            f"into a folder of its name ({', '.join(sorted(SUFFIXES))})"
        )
    for file in files:
        if len(file.parts) == 1:
            raise ValueError(f"{home / file} has no label: put it into a folder of its label")
        pixels = read_image(home / file, data.channels, (data.size, data.size))
        yield Picture(pixels, file.parts[0])


def read_image(
    file: Path, channels: int, size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An image's pixels `c h w`, scaled to `size`, height and width.

    Raises:
        ValueError: it is not there or cannot be read.
    """
    height, width = size
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            scaled = upright.convert("L" if channels == 1 else "RGB").resize(
                (width, height), Image.Resampling.BILINEAR
            )
    except FileNotFoundError:
        raise ValueError(f"there is no file {file} (seen from {Path.cwd()})") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is no image that can be read ({error}): remove it") from error
    pixels = np.asarray(scaled, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
