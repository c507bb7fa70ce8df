"""Comparison 7, static against contextual: one ambiguous word in two contexts, by three models.

    python recipes/compare/contextual.py [--quick] [--out FOLDER] [key=value ...]

word2vec, ELMo and BERT learn from the same text, the standard library's docstrings and comments.
Then each gives the vector of the word "set" where it is a noun ("a set of names") and where it is a
verb ("to set the name"). The vectors are drawn by their two main components, and it is measured how
often an occurrence is nearer (cosine) to the mean of the other occurrences of its own sense than to
that of the other sense. What is given as key=value changes all three recipes: training.threads=1.

Machine: one core of an AVX-512 EPYC, beside other work, 5 GB of memory. Minutes: 30, 10 of them on
the core; --quick: 2. Result, occurrences nearer to their own sense: word2vec 50 %, as it has one
vector for both; ELMo 100 %; BERT 68 %, which learns from the 15 % of tokens that are hidden, so
from less text in its time. With --quick 50, 65 and 63 %.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

import sublayer
from sublayer.config.files import load_recipe
from sublayer.data.source import SPLITS, read

HERE = Path(__file__).parent.parent
WORD = "set"
SENSES = {
    "noun": re.compile(rf"\b(?:a|the|this|each) {WORD} of\b", re.IGNORECASE),
    "verb": re.compile(
        rf"\b(?:to|and|must|can|not|will) {WORD} (?:the|a|this|it)\b", re.IGNORECASE
    ),
}
MOST = 40
"""Occurrences of a sense."""
RECIPES = {
    "word2vec": ("word2vec.toml", ["evaluation={}"], ["evaluation={}", "training.epochs=1"]),
    "ELMo": ("elmo.toml", ["data.view=prose"], ["data.view=prose", "training.steps=40"]),
    "BERT": (
        "masked_lm.toml",
        ["training.minutes=60", "training.steps=700", "objective.pairs=none"],
        ["training.minutes=60", "training.steps=40", "objective.pairs=none"],
    ),
}
"""The recipe of each, and what is changed in it, and for a quick look."""
Vectors = NDArray[np.float32]
Occurrence = tuple[list[str], int]
"""Words of a sentence, and which of them is meant."""


def occurrences(text: str) -> Iterator[tuple[str, Occurrence]]:
    """Sentences with the word in a sense that its neighbours tell."""
    for part in re.split(r"(?<=[.:;!?])\s+|\n\n+", text):
        sentence = " ".join(part.split())
        for sense, pattern in SENSES.items():
            found = pattern.search(sentence)
            if found is None or not 5 <= len(sentence.split()) <= 40:
                continue
            words, before = sentence.split(), sentence[: found.start()].split()
            place = len(before) + found.group().lower().split().index(WORD)
            if words[place].lower() == WORD:  # not a part of "(a set of"
                yield sense, (words, place)


def contexts() -> dict[str, list[Occurrence]]:
    """Occurrences of each sense, in the order of the files."""
    found: dict[str, list[Occurrence]] = {sense: [] for sense in SENSES}
    data = load_recipe(HERE / "word2vec.toml", []).data
    for split in SPLITS:
        for document in read(data, split):
            for sense, occurrence in occurrences(document.text):
                found[sense].append(occurrence)
    return {sense: of[:MOST] for sense, of in found.items()}


def static(model: Any, words: list[str], place: int) -> Vectors:
    """word2vec: the vector of the word, whatever stands around it."""
    (id,) = model.vocabulary.text.encode(words[place])
    return model.network.table[id].detach().numpy()


def from_letters(model: Any, words: list[str], place: int) -> Vectors:
    """ELMo: the mean of its layers."""
    return model([" ".join(words)])[0][place]


@torch.inference_mode()
def from_pieces(model: Any, words: list[str], place: int) -> Vectors:
    """BERT: what the last layer gives at the word's first piece."""
    tokenizer = model.vocabulary.text
    pieces = tokenizer.encode_words(words)
    ids, _ = tokenizer.frame([id for word in pieces for id in word])
    at = ids.index(pieces[0][0]) + sum(map(len, pieces[:place]))
    return model.network.hidden(torch.tensor([ids]))[0, at].numpy()


GIVEN_BY: dict[str, Callable[[Any, list[str], int], Vectors]] = {
    "word2vec": static,
    "ELMo": from_letters,
    "BERT": from_pieces,
}


def told_apart(senses: list[Vectors]) -> float:
    """Share of vectors, `n m` of each sense, nearer to their own sense; a tie is half of one."""
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in senses]
    right = 0.0
    for i, own in enumerate(units):
        other = units[1 - i].mean(0)
        for j in range(len(own)):
            mean = np.delete(own, j, 0).mean(0)
            near, far = (own[j] @ m / np.linalg.norm(m) for m in (mean, other))
            right += 0.5 if abs(near - far) < 1e-6 else float(near > far)
    return right / sum(map(len, units))


def draw(vectors: dict[str, list[Vectors]], scores: dict[str, float], file: Path) -> None:
    """The two main components of each model's vectors."""
    figure = Figure(figsize=(4 * len(vectors), 4), layout="constrained")
    for axes, (name, senses) in zip(figure.subplots(1, len(vectors)), vectors.items(), strict=True):
        every = np.concatenate(senses)
        centred = every - every.mean(0)
        _, _, main = np.linalg.svd(centred, full_matrices=False)
        points = centred @ main[:2].T
        first = len(senses[0])
        for sense, of in zip(SENSES, (points[:first], points[first:]), strict=True):
            axes.scatter(of[:, 0], of[:, 1], s=14, alpha=0.7, label=sense)
        axes.set_title(f"{name}: {scores[name]:.0%} nearer to their sense")
        axes.set(xticks=[], yticks=[])
        axes.legend()
    figure.suptitle(f'"{WORD}" in two senses')
    figure.savefig(file, dpi=130)


def main() -> None:
    """Train what is not yet trained, measure, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/contextual"))
    parser.add_argument("changes", nargs="*", metavar="key=value")
    given = parser.parse_args()
    found, vectors = contexts(), dict[str, list[Vectors]]()
    for name, (file, full, quick) in RECIPES.items():
        folder = given.out / ("quick" if given.quick else "full") / name
        changes = [*(quick if given.quick else full), *given.changes]
        model = sublayer.train(HERE / file, folder, changes, resume=True)
        vectors[name] = [
            np.stack([GIVEN_BY[name](model, *occurrence) for occurrence in of])
            for of in found.values()
        ]
    scores = {name: told_apart(senses) for name, senses in vectors.items()}
    counts = " and ".join(f"{len(of)} as a {sense}" for sense, of in found.items())
    lines = [f'"{WORD}", {counts}', "", "| model | nearer to their own sense |", "|---|---|"]
    lines += [f"| {name} | {score:.1%} |" for name, score in scores.items()]
    print("\n".join(lines))
    (given.out / "contextual.md").write_text("\n".join([*lines, ""]))
    draw(vectors, scores, given.out / "contextual.png")


if __name__ == "__main__":
    main()
