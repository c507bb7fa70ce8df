"""Attention maps on paper: small multiples, a row of panels a layer and a column a head."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from sublayer.lens.attention import AttentionMaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLOURS = "magma_r"
"""Perceptually uniform, and light where the weight is near 0, as most are."""

FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "WenQuanYi Zen Hei")
"""The first is matplotlib's own: accents, Greek, Cyrillic, Arabic. The others, if installed."""

CELL, TITLE, GAP, LARGEST = 0.17, 1.0, 0.2, 40.0
"""Inches: of a cell if there is room, of a panel's title, between panels, of all panels at most."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of one picture: `cell` in inches, `font` in points.

    `below` is the room for source pieces under a panel, in inches.
    """

    cell: float
    font: float
    below: float

    @classmethod
    def of(cls, maps: AttentionMaps) -> Layout:
        """Cells as large as labels and titles need, smaller if the picture would be too large."""
        layers, heads, q, k = maps.weights.shape
        cell = min(max(CELL, TITLE / k), LARGEST / (heads * k), LARGEST / (layers * q))
        font = min(max(cell * 50, 5.0), 8.5)
        longest = max(map(len, maps.source_pieces))
        return cls(cell, font, 0.7 * longest * font / 72 + 2 * GAP)

    @property
    def every(self) -> int:
        """Labels are shown on every so many cells."""
        return math.ceil(self.font / 72 / self.cell)


def picture(maps: AttentionMaps, kind: Literal["png", "svg"]) -> bytes:
    """The picture as a file of the given kind; an SVG's text stays text."""
    import matplotlib
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    fonts = [name for name in FONTS if name in installed]
    title = f"Cross-attention: {maps.source} → {maps.target}"
    content = BytesIO()
    with matplotlib.rc_context(
        {"font.family": fonts, "svg.fonttype": "none", "text.parse_math": False}
    ):
        figure = _panels(maps, Layout.of(maps))
        # "tight" makes room for labels and title, whose extent is only known now
        figure.savefig(
            content,
            format=kind,
            dpi=200,
            bbox_inches="tight",
            pad_inches=0.2,
            metadata={"Title": title},
        )
    return content.getvalue()


def _panels(maps: AttentionMaps, layout: Layout) -> Figure:
    from matplotlib.figure import Figure

    layers, heads, q, k = maps.weights.shape
    width, height = layout.cell * k, layout.cell * q
    total = (heads * (width + GAP) - GAP, layers * (height + layout.below))
    figure = Figure(figsize=total)
    peak = float(maps.weights.max())
    for layer in range(layers):
        for head in range(heads):
            left, bottom = head * (width + GAP), total[1] - height - layer * (height + layout.below)
            place = (left / total[0], bottom / total[1], width / total[0], height / total[1])
            axis = figure.add_axes(place)
            image = axis.imshow(
                maps.weights[layer, head].numpy(), cmap=COLOURS, vmin=0, vmax=peak, aspect="auto"
            )
            _label(axis, maps, layout, first=head == 0)
            axis.set_title(
                f"layer {layer + 1} · head {head + 1}", fontsize=8, color="#555555", pad=3
            )
    _scale(figure, image, height)
    _entitle(figure, maps)
    return figure


def _scale(figure: Figure, image: AxesImage, height: float) -> None:
    """What the colours mean, to the right of the first row."""
    wide, high = figure.get_size_inches()
    length = max(height, 1.0)
    axis = figure.add_axes((1 + GAP / wide, 1 - length / high, 0.1 / wide, length / high))
    bar = figure.colorbar(image, axis)
    bar.set_label("attention weight", fontsize=8)
    bar.outline.set_visible(False)
    axis.tick_params(labelsize=8)


def _label(axis: Axes, maps: AttentionMaps, layout: Layout, first: bool) -> None:
    """Source pieces under every panel; target pieces, top to bottom, beside the first of a row."""
    every = layout.every
    axis.set_xticks(
        range(0, len(maps.source_pieces), every), maps.source_pieces[::every], fontsize=layout.font
    )
    for label in axis.get_xticklabels():
        label.set_rotation(90 if len(label.get_text()) > 1 else 0)
    if first:
        axis.set_yticks(
            range(0, len(maps.target_pieces), every),
            maps.target_pieces[::every],
            fontsize=layout.font,
        )
    else:
        axis.set_yticks([])
    axis.tick_params(length=0, pad=2)
    axis.spines[:].set_color("#cccccc")


def _entitle(figure: Figure, maps: AttentionMaps) -> None:
    """Source and output over the panels, as wide as they are."""
    wrap = textwrap.TextWrapper(
        width=max(int(figure.get_figwidth() * 11), 40), max_lines=3, placeholder=" …"
    )
    lines = "\n".join([*wrap.wrap(maps.source), *wrap.wrap(f"→ {maps.target}")])
    above = 1 + 0.35 / figure.get_figheight()
    figure.text(0, above, lines, fontsize=11, va="bottom", linespacing=1.4)
