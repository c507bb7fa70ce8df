"""Digits, and folders of images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sublayer.config.data import DigitsData, ImagesData
from sublayer.data.source import read, splits


def test_digits():
    data = DigitsData(kind="digits")
    parts = {split: list(read(data, split)) for split in splits(data)}
    pictures = [picture for part in parts.values() for picture in part]
    assert len(pictures) == 1797
    assert {picture.label for picture in pictures} == {*"0123456789"}
    assert 0.65 < len(parts["train"]) / 1797 < 0.75
    images, labels = load_digits(return_X_y=True)
    theirs = {(image.tobytes(), str(label)) for image, label in zip(images, labels, strict=True)}
    for picture in pictures:
        assert picture.pixels.shape == (1, 8, 8)
        assert picture.pixels.dtype == np.uint8
        sixteenths = np.rint(picture.pixels * (16 / 255)).astype(np.float64)
        assert (sixteenths.tobytes(), picture.label) in theirs


@pytest.fixture
def folder(tmp_path):
    for name, colour in {"red/b.png": (255, 0, 0), "blue/in/a.jpg": (0, 0, 255)}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        Image.new("RGB", (6, 4), colour).save(file)
    (tmp_path / "red" / "note.txt").write_text("no image", encoding="utf-8")
    return tmp_path


def test_folders_are_labels(folder):
    blue, red = read(ImagesData(kind="images", train=str(folder), size=5), "train")
    assert (blue.label, red.label) == ("blue", "red")
    assert red.pixels.shape == (3, 5, 5)
    assert red.pixels.dtype == np.uint8
    assert red.pixels.max((1, 2)).tolist() == [255, 0, 0]
    assert red.pixels.min((1, 2)).tolist() == [255, 0, 0]


def test_one_channel(folder):
    _, red = read(ImagesData(kind="images", train=str(folder), size=2, channels=1), "train")
    assert red.pixels.tolist() == [[[76, 76], [76, 76]]]


def test_rows_are_height(tmp_path):
    (tmp_path / "x").mkdir()
    pixels = np.array([[0, 50], [100, 150]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x" / "a.png")
    data = ImagesData(kind="images", train=str(tmp_path), size=2, channels=1)
    assert next(read(data, "train")).pixels.tolist() == [pixels.tolist()]


def message(folder) -> str:
    with pytest.raises(ValueError, match=": ") as caught:
        list(read(ImagesData(kind="images", train=str(folder), size=2), "train"))
    return str(caught.value)


def test_mistakes(folder, tmp_path):
    assert "there is no folder" in message(tmp_path / "no")
    (tmp_path / "empty" / "label").mkdir(parents=True)
    assert f"there is no image in the folder {tmp_path / 'empty'}: put those" in message(
        tmp_path / "empty"
    )
    (folder / "red" / "c.png").write_bytes(b"\x89PNG nothing")
    assert f"{folder / 'red' / 'c.png'} is no image that can be read (" in message(folder)
    whole = (folder / "red" / "b.png").read_bytes()
    (folder / "red" / "c.png").write_bytes(whole[: len(whole) // 2])
    assert f"{folder / 'red' / 'c.png'} is no image that can be read (" in message(folder)
    (folder / "a.png").write_bytes(whole)
    assert f"{folder / 'a.png'} has no label: put it into a folder" in message(folder)
