"""Folders of transformers as the beginning of runs, whatever their family and vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from sublayer.config.schema import Recipe
from sublayer.models.verify import LARGEST
from sublayer.training import start
from sublayer.training.convert import convert, differences
from sublayer.training.run import load_predictor
from sublayer.training.start import train

TEXT = "the quick brown fox jumps over a lazy dog. the dog runs home. a fox jumps."
TEXTS = {"kind": "text", "unit": "line"}
COLUMNS = {"kind": "tsv", "source": 0, "target": 1, "second": 2}
PAIR = "a fox\tthe dog"
RUNS = [  # a folder, an objective, an input
    ("bert bare", {"kind": "embed"}, "a fox"),
    ("bert masked", {"kind": "masked", "length": 16}, "the [MASK] runs"),
    ("bert pairs", {"kind": "masked", "length": 16, "pairs": "next"}, "the [MASK] runs"),
    ("bert labels", {"kind": "classify"}, PAIR),
    ("bert tags", {"kind": "tag"}, "the fox runs"),
    ("bert answers", {"kind": "answer", "length": 24}, PAIR),
    ("albert", {"kind": "masked", "length": 16, "pairs": "order"}, "the [MASK] runs"),
    ("distilbert", {"kind": "classify"}, PAIR),
    ("distilbert", {"kind": "embed"}, "a fox"),
    ("distilbert", {"kind": "tag"}, "the fox runs"),
    ("roberta", {"kind": "masked", "length": 24}, "the <mask> runs"),
    ("roberta", {"kind": "embed"}, "a fox"),
    ("roberta", {"kind": "masked", "length": 24, "pairs": "order"}, "the <mask> runs"),
    ("roberta", {"kind": "classify"}, PAIR),
    ("roberta answers", {"kind": "answer", "length": 24}, PAIR),
    ("gpt2", {"kind": "causal", "length": 16}, "the fox"),
    ("gpt2", {"kind": "tag"}, "the fox runs"),
    ("gpt2 labels", {"kind": "classify"}, PAIR),
    ("llama", {"kind": "classify"}, PAIR),
    ("mistral", {"kind": "causal", "length": 16}, "the fox"),
    ("qwen2", {"kind": "answer", "length": 24}, PAIR),
    ("t5", {"kind": "spans", "length": 16}, "the <extra_id_0> runs"),
    ("t5", {"kind": "seq2seq"}, "the fox"),
    ("marian", {"kind": "seq2seq"}, "the fox"),
    ("vit", {"kind": "images"}, "dark/0.png"),
]


def data_of(kind: str, folder: Path) -> dict[str, Any]:
    """The section of a small file of the objective's kind."""
    words = TEXT.replace(".", "").split()
    if kind in {"causal", "masked", "spans"}:
        (folder / "texts").write_text(f"{TEXT}\n" * 4)
        return TEXTS | {"train": str(folder / "texts")}
    if kind == "tag":
        (folder / "tags").write_text("".join(f"{word}\t{word[0]}\n" for word in words))
        return {"kind": "conll", "train": str(folder / "tags")}
    if kind == "answer":
        row = {
            "question": "who?",
            "context": TEXT,
            "answers": [{"text": "fox", "answer_start": 16}],
        }
        (folder / "asked.jsonl").write_text(f"{json.dumps(row)}\n" * 3)
        return {"kind": "squad", "train": str(folder / "asked.jsonl")}
    if kind == "images":
        for label, shade in (("dark", 20), ("light", 220)):
            (folder / "images" / label).mkdir(parents=True)
            Image.fromarray(np.full((12, 12, 3), shade, np.uint8)).save(
                folder / "images" / label / "0.png"
            )
        return {"kind": "images", "size": 12, "train": str(folder / "images")}
    rows = [f"{word} {other}\t{word[0]}\tfox\n" for word in words[:4] for other in words[:3]]
    (folder / "rows.tsv").write_text("".join(rows))
    return COLUMNS | {"train": str(folder / "rows.tsv")}


@pytest.mark.parametrize(("name", "objective", "given"), RUNS, ids=lambda value: str(value)[:34])
def test_a_folder_of_theirs_is_trained_on_and_given_back(
    make_folder, tmp_path, monkeypatch, name, objective, given
):
    monkeypatch.setattr(start, "draw_curves", lambda *files: None)
    make_folder(name, tmp_path / "theirs")
    data = data_of(objective["kind"], tmp_path)
    recipe = Recipe.model_validate(
        {
            "data": data | {"valid": data["train"], "max_source": 24, "max_target": 24},
            "model": {"from": str(tmp_path / "theirs")},
            "objective": objective,
            "training": {
                "steps": 2,
                "batch_tokens": 64,
                "precision": "float32",
                "schedule": {"kind": "constant", "lr": 1e-3, "warmup": 0},
            },
            "generation": {"beam": 1, "max_length": 4},
        }
    )
    report = train(recipe, tmp_path / "run")
    assert all(np.isfinite(fields["loss"]) for fields in report["validation"].values())
    predictor = load_predictor(tmp_path / "run")
    if objective["kind"] == "images":
        given = str(tmp_path / "images" / given)
    (result,) = predictor.results([given])[0]
    assert json.loads(json.dumps(result.fields)) == result.fields
    labels = predictor.vocabulary.labels  # the data's, not those of the folder
    assert all(len(label) == 1 for label in labels) or set(labels) == {"dark", "light"}
    if (name, objective.get("pairs")) == ("roberta", "order"):
        with pytest.raises(ValueError, match="'roberta' with head = 'masked_and_pairs'; keep"):
            convert(tmp_path / "run", tmp_path / "exported", "huggingface")
        return
    found = differences(*convert(tmp_path / "run", tmp_path / "exported", "huggingface"))
    assert max(difference.largest for difference in found) < LARGEST
    if objective["kind"] == "images":
        pytest.importorskip("torchvision")
        made = hf.AutoImageProcessor.from_pretrained(tmp_path / "exported")
        image = Image.open(tmp_path / "images" / given)
        pixels = made(image, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(pixels, torch.full((1, 3, 12, 12), 20 / 127.5 - 1))
