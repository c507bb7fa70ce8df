"""Attention maps as a file, of the kind its name ends in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sublayer.config.files import atomic_write
from sublayer.lens.attention import AttentionMaps
from sublayer.lens.page import page
from sublayer.lens.picture import picture

KINDS: dict[str, Callable[[AttentionMaps], bytes]] = {
    ".png": lambda maps: picture(maps, "png"),
    ".svg": lambda maps: picture(maps, "svg"),
    ".html": lambda maps: page(maps).encode(),
}


def check_kind(file: Path) -> None:
    """Refuse a name before the work for it is done.

    Raises:
        ValueError: `file` does not end in .png, .svg or .html.
    """
    if file.suffix.lower() not in KINDS:
        raise ValueError(
            f"{file}: cannot draw '{file.suffix}'; let the name end in .png, .svg or .html"
        )


def draw(maps: AttentionMaps, file: Path) -> None:
    """Write `maps` as a picture (`.png`, `.svg`) or as a page to explore in a browser (`.html`).

    Raises:
        ValueError: the file's name ends otherwise.
        OSError: the file cannot be written.
    """
    check_kind(file)
    atomic_write(file, KINDS[file.suffix.lower()](maps))
