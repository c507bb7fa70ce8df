"""What a model of word vectors answers, and how its vectors are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sublayer.config.schema import Evaluation
from sublayer.data.judgements import read_analogies, read_similarity
from sublayer.metrics import Score, analogies_solved, rank_correlation
from sublayer.models.vectors import WordVectors
from sublayer.tasks.base import Predictor, Progress, Result
from sublayer.tasks.vocabulary import Vocabulary
from sublayer.text.special import TOKENS

ROWS = 256
"""Inputs that are compared with all words at a time."""
ASKED = (1, 3)
"""Words of an input: one for its neighbours, or three for an analogy."""


def as_word_vectors(network: nn.Module) -> WordVectors:
    """The network, if it is of words.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(network, WordVectors):
        raise ValueError(
            f"{type(network).__name__} has no word vectors; use the family word2vec or glove"
        )
    return network


@final
class Neighbours(Predictor):
    """The words whose vectors are near: to a word's, or to what goes with c as b goes with a.

    `words` are the vocabulary without special ids, `ids` theirs there, and `vectors` theirs, of
    length 1.
    """

    def __init__(self, network: nn.Module, vocabulary: Vocabulary) -> None:
        super().__init__(network, vocabulary)
        tokens = vocabulary.text.tokens
        own = {id: t for id, t in enumerate(tokens) if t is not None and t not in TOKENS}
        self.ids, self.words = list(own), list(own.values())
        table = as_word_vectors(network).table.detach().float().cpu()[self.ids]
        self.vectors: NDArray[np.float32] = nn.functional.normalize(table, dim=-1).numpy()
        self._place = {id: row for row, id in enumerate(self.ids)}

    def place(self, word: str) -> int | None:
        """The word's row of `vectors`; None if it is not known."""
        ids = self.vocabulary.text.encode(word)
        return self._place.get(ids[0]) if len(ids) == 1 else None

    def hasten(self, inputs: int = 1) -> None:
        """There is nothing to hasten."""

    def results(
        self, inputs: Sequence[str], n: int = 1, progress: Progress | None = None
    ) -> list[list[Result]]:
        """The `n` nearest to a word, or to b - a + c for three words a b c, with their cosines.

        The words of an input are no answers to it. Of an input with an unknown word, or with
        another number of words, the only answer says so.
        """
        out: list[list[Result]] = []
        for begin in range(0, len(inputs), ROWS):
            chunk = inputs[begin : begin + ROWS]
            out += self._answers([text.split() for text in chunk], n)
            if progress is not None:
                progress(len(chunk))
        return out

    def _answers(self, asked: list[list[str]], n: int) -> list[list[Result]]:
        places = [[self.place(word) for word in words] for words in asked]
        known = [[p for p in row if p is not None] for row in places]
        whole = [i for i, row in enumerate(places) if len(row) in ASKED and None not in row]
        out = [
            [_no_answer(words, [word for word, p in zip(words, row, strict=True) if p is None])]
            for words, row in zip(asked, places, strict=True)
        ]
        if not whole:
            return out
        scores = self.sought([known[i] for i in whole]) @ self.vectors.T
        for i, score in zip(whole, scores, strict=True):
            score[known[i]] = -np.inf
            best = np.argsort(-score, kind="stable")[: min(n, len(score) - len(set(known[i])))]
            out[i] = [self._result(int(row), float(score[row])) for row in best]
        return out

    def sought(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """For each row of one word its vector, for one of three b - a + c; of length 1, `b m`."""
        found = [
            self.vectors[row[0]]
            if len(row) == 1
            else self.vectors[row[1]] - self.vectors[row[0]] + self.vectors[row[2]]
            for row in rows
        ]
        return nn.functional.normalize(torch.from_numpy(np.stack(found)), dim=-1).numpy()

    def _result(self, row: int, cosine: float) -> Result:
        return Result(self.words[row], {"cosine": cosine, "word": self.words[row]})

    # ---- measuring

    def scores(self, evaluation: Evaluation) -> dict[str, Score]:
        """Rank correlation with files of similar words, and the share of analogies solved.

        Words that are not known are left out, and counted in the signature.

        Raises:
            ValueError: a file is not there or wrong, or no line of it has known words alone.
        """
        found: dict[str, Score] = {}
        for file in files_of(evaluation.similarity):
            found[f"similarity_{Path(file).stem}"] = self._similarity(file)
        for file in files_of(evaluation.analogies):
            found |= self._analogies(file)
        return found

    def _similarity(self, file: str) -> Score:
        rows = read_similarity(file)
        places = [(self.place(a), self.place(b), score) for a, b, score in rows]
        kept = [(a, b, score) for a, b, score in places if a is not None and b is not None]
        if not kept:
            raise ValueError(f"{file}: the model knows both words of no line; give another file")
        a, b, told = map(np.array, zip(*kept, strict=True))
        cosines = (self.vectors[a] * self.vectors[b]).sum(-1)
        return rank_correlation(cosines, told, len(rows))

    def _analogies(self, file: str) -> dict[str, Score]:
        name = f"analogies_{Path(file).stem}"
        solved: dict[str, list[bool]] = {}
        total = {section: len(rows) for section, rows in read_analogies(file).items()}
        for section, rows in read_analogies(file).items():
            places = [[self.place(word) for word in row] for row in rows]
            kept = [[p for p in row if p is not None] for row in places if None not in row]
            solved[section] = self._solved(kept)
        if not any(solved.values()):
            raise ValueError(f"{file}: the model knows all words of no line; give another file")
        every = [one for section in solved.values() for one in section]
        found = {name: analogies_solved(every, sum(total.values()))}
        if len(solved) > 1:
            found |= {
                f"{name}/{section}": analogies_solved(one, total[section])
                for section, one in solved.items()
                if one
            }
        return found

    def _solved(self, rows: Sequence[Sequence[int]]) -> list[bool]:
        """Whether d is the nearest to b - a + c, the three left aside (3CosAdd)."""
        out: list[bool] = []
        for begin in range(0, len(rows), ROWS):
            chunk = np.array(rows[begin : begin + ROWS])
            scores = self.sought(chunk[:, :3].tolist()) @ self.vectors.T
            np.put_along_axis(scores, chunk[:, :3], -np.inf, axis=1)
            out += (scores.argmax(1) == chunk[:, 3]).tolist()
        return out


def check_word_files(evaluation: Evaluation, objective: str, *, measured: bool) -> None:
    """That the files a recipe names for word vectors are there and can be read.

    Raises:
        ValueError: they are not, or the objective gives no vectors of words.
    """
    for key in ("similarity", "analogies"):
        files = files_of(evaluation.model_dump()[key])
        if files and not measured:
            raise ValueError(
                f"evaluation.{key}: the objective '{objective}' gives no vectors of words; "
                "leave it out"
            )
        for file in files:
            read_similarity(file) if key == "similarity" else read_analogies(file)


def files_of(named: str | list[str] | None) -> list[str]:
    """One file, several or none."""
    return [] if named is None else [named] if isinstance(named, str) else named


def _no_answer(words: Sequence[str], unknown: Sequence[str]) -> Result:
    if len(words) in ASKED:
        told = f"unknown: {' '.join(unknown)}"
        return Result(told, {"cosine": 0.0, "word": "", "unknown": list(unknown)})
    told = f"{len(words)} words: give one for its neighbours, or three for an analogy"
    return Result(told, {"cosine": 0.0, "word": "", "error": told})
