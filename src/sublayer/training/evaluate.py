"""A finished run measured: metrics with their signatures, perplexity, scores by source length."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from sublayer.config.errors import explain
from sublayer.config.schema import Recipe
from sublayer.data.batch import Batch, collate
from sublayer.data.order import cut
from sublayer.data.source import Pair, Split, read
from sublayer.generation.predict import Predictor
from sublayer.metrics import Bucket, Score, by_length, make, quantile_edges
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.training.run import load_predictor, open_run
from sublayer.training.validation import mean_loss


@dataclass(frozen=True)
class Evaluation:
    """What `sublayer evaluate` says."""

    split: str
    rows: int
    metrics: dict[str, Score]
    buckets: dict[str, list[Bucket]]
    """By metric; source lengths in tokens."""
    beam: int
    seconds: float
    outputs: list[str]

    def as_json(self) -> dict[str, Any]:
        """The report, without the outputs."""
        return {
            "split": self.split,
            "rows": self.rows,
            "beam": self.beam,
            "seconds": round(self.seconds, 2),
            "metrics": {
                n: {"value": s.value, "signature": s.signature} for n, s in self.metrics.items()
            },
            "by_source_length": {
                n: [
                    {"low": b.low, "high": b.high, "rows": b.rows, "value": b.value}
                    for b in buckets
                ]
                for n, buckets in self.buckets.items()
            },
        }


def evaluate(
    folder: Path,
    split: Split = "test",
    files: Sequence[str] = (),
    *,
    beam: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Decode a split of the run's data, and score the outputs.

    `files` of the same kind may take the place of the split; `progress` hears how many rows are
    done, and of how many.

    Raises:
        ValueError: the folder is no finished run, or the data is not there or wrong.
    """
    _, recipe = open_run(folder)
    if files:
        recipe, split = _with_files(recipe, files), "test"
    metrics = make(recipe.evaluation.metrics, recipe.evaluation)
    pairs = list(read(recipe.data, split))
    if not pairs:
        raise ValueError(f"the {split} data is empty; there is nothing to evaluate")
    predictor = load_predictor(folder, beam=beam, device=device)
    start, done = time.perf_counter(), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, len(pairs))

    sources, references = [pair.source for pair in pairs], [pair.targets for pair in pairs]
    outputs = [found[0].text for found in predictor.n_best(sources, 1, advance)]
    seconds = time.perf_counter() - start
    lengths = [len(ids) for ids in predictor.tokenizers.source.encode_batch(sources)]
    edges = quantile_edges(lengths)
    scores = {metric.name: metric.score(outputs, references) for metric in metrics}
    scores["perplexity"] = perplexity(predictor, pairs)
    buckets = {
        metric.name: by_length(metric, lengths, outputs, references, edges) for metric in metrics
    }
    return Evaluation(split, len(pairs), scores, buckets, predictor.options.beam, seconds, outputs)


def _with_files(recipe: Recipe, files: Sequence[str]) -> Recipe:
    keys = recipe.model_dump(mode="json", exclude_none=True)
    keys["data"].pop("splits", None)
    if recipe.data.kind in {"huggingface", "cmudict"}:
        raise ValueError(
            f"a run on {recipe.data.kind} data has no files to put others in place of; use --split"
        )
    keys["data"]["test"] = (
        list(files) if recipe.data.kind == "lines" or len(files) > 1 else files[0]
    )
    try:
        return Recipe.model_validate(keys)
    except ValidationError as error:
        raise explain(error, Recipe, lambda key: "--data") from None


def perplexity(predictor: Predictor, pairs: Sequence[Pair]) -> Score:
    """exp of the mean negative log-likelihood of the references' tokens, ends included.

    Tokens are those of the run's own vocabulary, so runs of one vocabulary can be compared.
    """
    network = predictor.network
    off = torch.autocast(next(network.parameters()).device.type, enabled=False)
    _, nll = mean_loss(
        network, Seq2Seq(label_smoothing=0.0), _teacher_forced(predictor, pairs), off
    )
    return Score(
        math.exp(min(nll, 700.0)),
        f"perplexity|tok:run|vocab:{predictor.tokenizers.target.vocab_size}",
    )


def _teacher_forced(predictor: Predictor, pairs: Sequence[Pair]) -> Iterator[Batch]:
    """Batches of every source with each of its references."""
    both = predictor.tokenizers
    texts = [(pair.source, target) for pair in pairs for target in pair.targets]
    sources = both.source.encode_batch([source for source, _ in texts])
    targets = both.target.encode_batch([target for _, target in texts])
    rows = [
        (np.array(s[: predictor.max_source], np.uint32), np.array(t, np.uint32))
        for s, t in zip(sources, targets, strict=True)
    ]
    lengths = np.array([(len(s) + 1, len(t) + 1) for s, t in rows])
    for batch in cut(np.arange(len(rows)), lengths, predictor.batch_tokens):
        yield collate([rows[i] for i in batch], both.source.special, both.target.special)
