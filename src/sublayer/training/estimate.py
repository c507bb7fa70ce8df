"""What a run will cost, before its first step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from statistics import median
from typing import Any

import numpy as np
import torch

from sublayer.config.schema import DataSection, Recipe
from sublayer.data.batch import Batch, collate
from sublayer.data.order import cut
from sublayer.data.source import Pair, read
from sublayer.models.base import EncoderDecoder, as_encoder_decoder
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.scaling.count import Count, count
from sublayer.scaling.memory import DecodingMemory, TrainingMemory, decoding_memory, training_memory
from sublayer.text.special import Special
from sublayer.text.tokenizer import Tokenizers
from sublayer.training.optimizers import make_optimizer
from sublayer.training.precision import autocast, pick_device, uses_bfloat16
from sublayer.training.run import set_threads
from sublayer.training.start import model_config

SAMPLE = 20_000
"""Pairs at the head of the training data that vocabularies and lengths are estimated from."""
STEPS = 5


@dataclass(frozen=True)
class Estimate:
    """The cost of a run; lengths are means over a sample, ends included."""

    pairs: int
    source_tokens: float
    target_tokens: float
    count: Count
    training: TrainingMemory
    decoding: DecodingMemory
    tokens_per_second: float
    """Target tokens, measured in a few steps on this machine."""
    epochs: float
    minutes: float

    def as_json(self) -> dict[str, Any]:
        """Numbers under the names that the table shows."""
        return {
            "pairs": self.pairs,
            "source_tokens_per_pair": self.source_tokens,
            "target_tokens_per_pair": self.target_tokens,
            "parameters": self.count.parameters,
            "parts": [asdict(part) for part in self.count.parts],
            "forward_flops_per_target_token": self.count.forward,
            "training_flops_per_target_token": self.count.training,
            "training_memory_bytes": asdict(self.training) | {"total": self.training.total},
            "decoding_memory_bytes": asdict(self.decoding),
            "target_tokens_per_second": self.tokens_per_second,
            "epochs": self.epochs,
            "minutes": self.minutes,
        }


def estimate(recipe: Recipe) -> Estimate:
    """Count, plan and time what a recipe says, on a sample of its data.

    Raises:
        ValueError: the recipe does not fit its data, or the data is not there or wrong.
    """
    t = recipe.training
    set_threads(t.threads)
    pairs, sample = _pairs(read(recipe.data, "train"))
    tokenizers = Tokenizers.train(recipe.tokenizer, sample)
    rows = _encoded(sample, tokenizers, recipe.data)
    lengths = np.array([(len(source) + 1, len(target) + 1) for source, target in rows])
    source, target = lengths.mean(0).tolist()
    batches = [
        collate([rows[i] for i in batch], Special(), Special())
        for batch in cut(np.arange(len(rows)), lengths, t.batch_tokens)
    ]
    config = model_config(recipe, tokenizers.source.vocab_size, tokenizers.target.vocab_size)

    def build() -> EncoderDecoder:
        return as_encoder_decoder(config.build())

    device = pick_device(t.device)
    largest = max(batches, key=lambda batch: batch.source.numel() + batch.target.numel())
    b, n = largest.source.shape
    context = autocast(t.precision, device)
    rate = _rate(build().to(device), recipe, batches, context)
    epoch_minutes = pairs * target / rate / 60
    bounds = (
        t.epochs and t.epochs * epoch_minutes,
        t.minutes,
        t.steps and t.steps * t.accumulate * len(sample) * target / len(batches) / rate / 60,
    )
    minutes = min(bound for bound in bounds if bound is not None)
    return Estimate(
        pairs,
        source,
        target,
        count(build, round(source), round(target)),
        training_memory(
            build, b, n, largest.target.shape[1] - 1, bfloat16=uses_bfloat16(t.precision, device)
        ),
        decoding_memory(build()),
        rate,
        minutes / epoch_minutes,
        minutes,
    )


def _pairs(stream: Iterator[Pair]) -> tuple[int, list[Pair]]:
    """How many training pairs there are, one for each target, and the first of them."""
    sample = list(islice(stream, SAMPLE))
    return sum(len(pair.targets) for pair in chain(sample, stream)), sample


def _encoded(
    sample: list[Pair], tokenizers: Tokenizers, data: DataSection
) -> list[tuple[Any, Any]]:
    """The pairs of the sample that training would use."""
    sources = tokenizers.source.encode_batch([pair.source for pair in sample])
    targets = tokenizers.target.encode_batch([pair.targets[0] for pair in sample])
    return [
        (np.array(s, np.uint32), np.array(t, np.uint32))
        for s, t in zip(sources, targets, strict=True)
        if 0 < len(s) <= data.max_source and 0 < len(t) <= data.max_target
    ]


def _rate(
    network: EncoderDecoder, recipe: Recipe, batches: list[Batch], context: torch.autocast
) -> float:
    """Target tokens a second: the median of training steps on batches of evenly spread lengths.

    One more step, which is not timed, goes before them.
    """
    objective = Seq2Seq(recipe.objective.label_smoothing, recipe.objective.r_drop)
    optimizer = make_optimizer(network.train(), recipe.training.optimizer)
    device = next(network.parameters()).device

    def seconds(batch: Batch) -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with context:
            loss = objective(network, batch.to(device))
        (loss.total / loss.tokens).backward()
        optimizer.step()
        loss.total.item()  # waits for a GPU
        return time.perf_counter() - start

    chosen = [batches[i * (len(batches) - 1) // STEPS] for i in range(STEPS + 1)]
    seconds(chosen[0])
    return median(batch.tokens / seconds(batch) for batch in chosen[1:])
