"""A tiny model learns to turn words round, and does so with words it has never seen."""

from __future__ import annotations

import numpy as np
import torch

from sublayer.data.batch import collate
from sublayer.generation.generate import generate
from sublayer.generation.hypothesis import SearchOptions
from sublayer.models.base import build
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.text.special import Special

SPECIAL, LETTERS = Special(), range(4, 12)


def words(random, n):
    """Rows of letters and the same rows reversed."""
    rows = [random.choice(LETTERS, size=random.integers(2, 6)) for _ in range(n)]
    return [(row, row[::-1]) for row in rows]


def test_learns_to_reverse():
    random = np.random.default_rng(0)
    network = build(
        "transformer", vocab_size=12, d_model=32, n_layers=1, n_heads=4, d_ff=64, dropout=0.0
    )
    optimizer, objective = torch.optim.Adam(network.parameters(), 5e-3), Seq2Seq(0.1)
    for _ in range(200):
        batch = collate(words(random, 64), SPECIAL, SPECIAL)
        loss = objective(network, batch)
        optimizer.zero_grad()
        (loss.total / loss.tokens).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    unseen = words(random, 100)
    batch = collate(unseen, SPECIAL, SPECIAL)
    found = generate(
        network.eval(), batch.source, batch.source_valid, SearchOptions(beam=2, max_length=10)
    )
    right = sum(h[0].ids == target.tolist() for h, (_, target) in zip(found, unseen, strict=True))
    assert right >= 90
