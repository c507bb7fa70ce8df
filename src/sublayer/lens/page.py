"""Attention maps as a page of one file, for any browser, with or without a network."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from string import Template

from sublayer.lens.attention import AttentionMaps
from sublayer.lens.picture import COLOURS


class _Page(Template):
    delimiter = "@@"  # scripts are full of dollars


def page(maps: AttentionMaps) -> str:
    """The page: all heads at a glance, one of them in numbers, each weight under the pointer."""
    import matplotlib
    from matplotlib.colors import to_hex

    colours = matplotlib.colormaps[COLOURS]
    content = {
        "sourcePieces": maps.source_pieces,
        "targetPieces": maps.target_pieces,
        # in thousandths, layers h (q k)
        "weights": (maps.weights * 1000).round().int().flatten(-2).tolist(),
        "peak": max(1, round(float(maps.weights.max()) * 1000)),
        "colours": [to_hex(colours(i)) for i in range(256)],
    }
    # "<" could end the script element that holds the text
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    frame = files("sublayer.lens").joinpath("page.html").read_text(encoding="utf-8")
    return _Page(frame).substitute(
        title=escape(f"Cross-attention: {maps.source} → {maps.target}"),
        source=escape(maps.source),
        target=escape(maps.target),
        maps=data,
    )
