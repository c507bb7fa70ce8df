"""A small trained run, made once, and the command run in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from sublayer.cli import main as cli

Outcome = tuple[int, str, str]


@pytest.fixture
def sublayer(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Status, stdout and stderr of a command line; `stdin` is what is piped into it."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sublayer", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        status = cli.main()
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session")
def recipe(folder: Path) -> Path:
    words = ["abc", "bca", "cab", "ab", "ba", "ca", "ac", "a", "b", "c"]
    (folder / "pairs.tsv").write_text("".join(f"{word}\t{word[::-1]}\n" for word in words))
    pairs = str(folder / "pairs.tsv")
    keys = {
        "data": {
            "kind": "tsv",
            "source": 0,
            "target": 1,
            "train": pairs,
            "valid": pairs,
            "test": pairs,
        },
        "tokenizer": {"shared": {"kind": "characters", "vocab_size": 16}},
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16},
        "training": {"steps": 2, "batch_tokens": 64, "precision": "float32"},
        "generation": {"beam": 3, "max_length": 5},
        "evaluation": {"metrics": ["exact_match"]},
    }
    file = folder / "recipe.toml"
    file.write_text(tomli_w.dumps(keys))
    return file


@pytest.fixture(scope="session")
def run(folder: Path, recipe: Path) -> Path:
    from sublayer.config.files import load_recipe
    from sublayer.training.start import train

    train(load_recipe(recipe), folder / "run")
    return folder / "run"
