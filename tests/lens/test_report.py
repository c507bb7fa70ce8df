"""Files that open anywhere and say everything: all pieces, all weights, nothing fetched."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import torch
from matplotlib.image import imread

from sublayer.lens import AttentionMaps, check_kind, draw
from sublayer.lens.picture import LARGEST


def invented(source, target, layers=1, heads=1):
    source_pieces, target_pieces = [*source, "</s>"], [*target, "</s>"]
    weights = torch.rand(layers, heads, len(target_pieces), len(source_pieces)).softmax(-1)
    return AttentionMaps(" ".join(source), " ".join(target), source_pieces, target_pieces, weights)


class Page(HTMLParser):
    """Elements with their attributes, and the text in each kind; refuses tags without their end."""

    VOID = frozenset({"meta"})

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.inside = [], [], {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.inside.setdefault(self.open[-1], []).append(data)


def test_png_shows_one_panel_a_head(maps, tmp_path):
    draw(maps, tmp_path / "maps.png")
    high, wide, _ = imread(tmp_path / "maps.png").shape
    assert wide > high > 500


def test_svg_keeps_every_piece_as_text(maps, tmp_path):
    draw(maps, tmp_path / "maps.svg")
    root = ElementTree.parse(tmp_path / "maps.svg").getroot()
    texts = [text.strip() for text in root.itertext() if text.strip()]
    assert texts.count("ß") == 2 * 4
    assert texts.count("EH") == 2
    assert {"layer 1 · head 1", "layer 2 · head 4", "große Bär", "→ B EH R"} <= set(texts)
    assert (
        root.findtext("{http://www.w3.org/2000/svg}title") == "Cross-attention: große Bär → B EH R"
    )


def test_page_holds_pieces_and_weights(maps, tmp_path):
    draw(maps, tmp_path / "maps.html")
    page = Page((tmp_path / "maps.html").read_text(encoding="utf-8"))
    data = json.loads(next(text for text in page.inside["script"] if text.startswith("{")))
    assert data["sourcePieces"] == maps.source_pieces
    assert data["targetPieces"] == maps.target_pieces
    weights = torch.tensor(data["weights"]).view_as(maps.weights) / 1000
    torch.testing.assert_close(weights, maps.weights, atol=6e-4, rtol=0)
    assert data["peak"] == round(float(maps.weights.max()) * 1000)


def test_page_fetches_nothing_and_names_its_language(maps, tmp_path):
    draw(maps, tmp_path / "maps.html")
    text = (tmp_path / "maps.html").read_text(encoding="utf-8")
    page = Page(text)
    assert ("html", {"lang": "en"}) in page.elements
    assert not {"src", "href", "srcset"} & {
        name for _, attributes in page.elements for name in attributes
    }
    assert not re.search(r"https?:|url\(|@import|fetch\(", text)
    assert "default-src 'none'" in text


def test_no_text_breaks_out_of_the_page(tmp_path):
    nasty = ["</script>", "<b>", "&amp;", "@@maps", '"']
    draw(invented(nasty, nasty), tmp_path / "maps.html")
    page = Page((tmp_path / "maps.html").read_text(encoding="utf-8"))
    assert "b" not in {tag for tag, _ in page.elements}
    assert page.inside["p"][0] == " ".join(nasty)
    assert json.loads(page.inside["script"][0])["sourcePieces"] == [*nasty, "</s>"]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_dollars_and_backslashes_are_letters(tmp_path, ending):
    draw(invented(["$", r"\frac", "$x$", "_"], ["<&>"]), tmp_path / f"maps.{ending}")


def test_a_long_text_still_makes_a_picture_that_opens(tmp_path):
    draw(invented(["a"] * 400, ["b"] * 10, heads=2), tmp_path / "maps.png")
    high, wide, _ = imread(tmp_path / "maps.png").shape
    assert max(high, wide) < 200 * (LARGEST + 4)


def test_the_smallest_map_is_drawn(tmp_path):
    for ending in ("PNG", "Svg", "html"):
        draw(invented([], []), tmp_path / "new folder" / f"maps.{ending}")
    assert len(list((tmp_path / "new folder").iterdir())) == 3


@pytest.mark.parametrize("name", ["maps.pdf", "maps"])
def test_another_ending_is_refused(maps, tmp_path, name):
    refusal = pytest.raises(ValueError, match=r"let the name end in \.png, \.svg or \.html")
    with refusal:
        check_kind(tmp_path / name)
    with refusal:
        draw(maps, tmp_path / name)
    assert not list(tmp_path.iterdir())
