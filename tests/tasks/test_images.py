"""Images: pixels there and back, batches that count images, and shifts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sublayer.data.example import Picture
from sublayer.data.store import Store

SIZE = 8
VIT = {"image_size": SIZE, "patch_size": 4, "n_channels": 1}


def picture(seed: int, label: str) -> Picture:
    pixels = np.random.default_rng(seed).integers(256, size=(1, SIZE, SIZE), dtype=np.uint8)
    return Picture(pixels, label)


PICTURES = [picture(i, "ab"[i % 2]) for i in range(23)]


@pytest.fixture
def task(bind):
    return bind("images", PICTURES, metrics=["accuracy"])


@pytest.fixture
def store(task, tmp_path):
    return Store.write(tmp_path / "store", task.encode(PICTURES, {}), task.ids)


def test_pixels_come_back_from_the_store(task, store):
    assert task.vocabulary.labels == ("a", "b")
    assert task.vocabulary.tokenizers is None
    batch = task.collate(store.rows(np.arange(23)), np.random.default_rng(0))
    pixels = torch.from_numpy(np.stack([p.pixels for p in PICTURES])).float()
    torch.testing.assert_close(batch.inputs, pixels / 127.5 - 1)
    assert [task.vocabulary.labels[i] for i in batch.labels] == [p.label for p in PICTURES]
    assert batch.tokens == batch.read == 23
    assert store.meta["bytes_per_id"] == 2


@pytest.mark.parametrize("images", [1, 4, 23, 100])
def test_a_batch_counts_images(make_recipe, task, store, images):
    recipe = make_recipe("images")
    training = recipe.training.model_copy(update={"batch_tokens": images})
    task.recipe = recipe.model_copy(update={"training": training})
    sizes = [len(batch) for batch in task.order(store).epoch(0)]
    assert sorted(sizes, reverse=True) == [images] * (23 // images) + [23 % images] * (
        23 % images > 0
    )
    seen = np.concatenate(list(task.order(store).epoch(1)))
    assert sorted(seen.tolist()) == list(range(23))
    measured = [len(rows) for rows in task.in_order(store)]
    assert sum(measured) == 23
    assert max(measured) == min(images, 23)


def test_shifts_move_images_and_let_in_black(bind, tmp_path):
    task = bind("images", PICTURES, shift=2)
    store = Store.write(tmp_path / "store", task.encode(PICTURES, {}), task.ids)
    rows = store.rows(np.arange(23))
    seen = set()
    for epoch in range(8):
        random = np.random.default_rng([1, epoch, 0])
        batch = task.training_batch(rows, random)
        again = task.training_batch(rows, np.random.default_rng([1, epoch, 0]))
        assert torch.equal(batch.inputs, again.inputs)
        assert batch.inputs.shape == (23, 1, SIZE, SIZE)
        for moved, own in zip(batch.inputs, PICTURES, strict=True):
            seen.add(shift_of(((moved[0] + 1) * 127.5).round().numpy(), own.pixels[0]))
    assert seen == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}
    still = task.collate(rows, np.random.default_rng(0))  # what is measured stays where it is
    assert shift_of(((still.inputs[0, 0] + 1) * 127.5).round().numpy(), PICTURES[0].pixels[0]) == (
        0,
        0,
    )


def shift_of(moved: np.ndarray, own: np.ndarray) -> tuple[int, int]:
    """The one move that explains an image."""
    padded = np.pad(own, 2)
    moves = [
        (y - 2, x - 2)
        for y in range(5)
        for x in range(5)
        if (padded[y : y + SIZE, x : x + SIZE] == moved).all()
    ]
    (move,) = moves
    return move


def test_labels_by_probability(task, network_of, generation, tmp_path):
    network = network_of(task, "vit", **VIT)
    predictor = task.predictor(network, generation)
    files = []
    for number, one in enumerate(PICTURES[:3]):
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(one.pixels[0]).save(files[-1])
    found = predictor.results(files, 5)
    assert [len(row) for row in found] == [2, 2, 2]  # there are no more labels
    batch = torch.from_numpy(np.stack([p.pixels for p in PICTURES[:3]])) / 127.5 - 1
    share = network(batch).softmax(-1)
    for row, p in zip(found, share, strict=True):
        assert row[0].text == task.vocabulary.labels[p.argmax()]
        assert row[0].fields["probability"] == pytest.approx(p.max().item(), abs=1e-5)
    assert predictor(files) == [row[0].text for row in found]
    assert predictor([p.pixels for p in PICTURES[:3]]) == [row[0].text for row in found]
    with pytest.raises(ValueError, match="give a list of images, not one"):
        predictor(files[0])
    with pytest.raises(ValueError, match=r"there is no file .*none\.png"):
        predictor([str(tmp_path / "none.png")])


def test_score(task, network_of, generation):
    predictor = task.predictor(network_of(task, "vit", **VIT), generation)
    outcome = task.score(predictor, PICTURES, lambda rows: None)
    right = sum(s == p.label for s, p in zip(outcome.outputs, PICTURES, strict=True))
    assert outcome.metrics["accuracy"].value == pytest.approx(right / 23)
    assert sum(sum(said.values()) for said in outcome.confusion.values()) == 23
    assert [s.output for s in task.samples(predictor, PICTURES)] == outcome.outputs


def test_images_of_other_channels(bind, network_of):
    task = bind("images", PICTURES)
    network = network_of(task, "vit", **VIT | {"n_channels": 3})
    batch = task.collate(list(task.encode(PICTURES, {})), np.random.default_rng(0))
    with pytest.raises(ValueError, match="images of 1 channels, but the model reads 3"):
        task.objective()(network, batch)
