"""Texts of unlike length, written with refill and in fixed batches: `python benchmarks/refill.py`.

A GPT of 11 M parameters with random weights samples from 200 prompts. Each text ends by chance,
about one in twenty tokens, or at 200 tokens; at most 32 are written at a time. With refill, all are
given at once; in fixed batches, 32 at a time, each waiting for its longest.
"""

from __future__ import annotations

import statistics
from time import perf_counter

import torch

import sublayer
from sublayer.config.schema import TokenizerSide
from sublayer.generation.language import Continuer
from sublayer.generation.sample import SampleOptions
from sublayer.text.tokenizer import Tokenizer

PROMPTS, TOGETHER, ROUNDS = 200, 32, 5


def main() -> None:
    """Print the median seconds of both ways."""
    letters = Tokenizer.train(TokenizerSide(kind="characters"), ["abcdefghijklmnopqrstuvwxyz "])
    torch.manual_seed(0)
    size = {"d_model": 384, "n_layers": 6, "n_heads": 6, "d_ff": 1536}
    network = sublayer.build("gpt", vocab_size=letters.vocab_size, **size)
    options = SampleOptions(seed=1, max_new=200)
    writer = Continuer(network, letters, options, batch_tokens=TOGETHER * 206)
    texts = ["ab cd"] * PROMPTS

    def fixed() -> None:
        for first in range(0, PROMPTS, TOGETHER):
            writer.n_best(texts[first : first + TOGETHER], 1, first=first)

    ways = {"refill": lambda: writer.n_best(texts, 1), "fixed batches": fixed}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = perf_counter()
            way()
            seconds[name].append(perf_counter() - start)
    for name, taken in seconds.items():
        print(f"{name:15s} {statistics.median(taken):.2f} s")


if __name__ == "__main__":
    main()
