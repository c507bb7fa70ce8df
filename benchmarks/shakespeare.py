"""Tiny Shakespeare in the time that nanoGPT's recipe for a CPU takes, side by side on one machine.

    python benchmarks/shakespeare.py tinyshakespeare.txt [--out FILE.md] [KEY=VALUE ...]

First the recipe of nanoGPT's README for a CPU: 4 layers, 4 heads, d_model 128, windows of 64
characters, 12 of them a step, 2,000 steps of AdamW, in float32, with its measurements of 20 batches
each 250 steps. Then recipes/shakespeare_char.toml for the same number of minutes. The split is
nanoGPT's: the first 90 % of the characters to learn from. The loss of both is that of all the rest,
in windows of the length each was trained with, in nats a character.
"""

from __future__ import annotations

import argparse
import math
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from decoders import PlainGPT
from torch import Tensor, nn
from torch.nn import functional as F

import sublayer
from sublayer.training.evaluate import evaluate

LENGTH, ROWS, STEPS, WARMUP, PEAK, LOWEST = 64, 12, 2000, 100, 1e-3, 1e-4


def rate(step: int) -> float:
    """nanoGPT's: a linear warm-up and half a cosine."""
    if step < WARMUP:
        return PEAK * (step + 1) / (WARMUP + 1)
    share = (step - WARMUP) / (STEPS - WARMUP)
    return LOWEST + (PEAK - LOWEST) * (1 + math.cos(math.pi * share)) / 2


def windows(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Random ones, and the same one on."""
    starts = torch.randint(len(ids) - LENGTH, (ROWS,)).tolist()
    rows = torch.stack([ids[start : start + LENGTH + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def loss_of(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean over characters."""
    return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())


def train_peer(train: Tensor, valid: Tensor, vocab_size: int) -> tuple[nn.Module, float]:
    """The model, and the seconds it took."""
    model = PlainGPT(vocab_size, 128, 4, 4, 512, places=LENGTH)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, PEAK, (0.9, 0.99))
    start = time.perf_counter()
    for step in range(STEPS):
        if step % 250 == 0:
            with torch.no_grad():
                for part in (train, valid):
                    for _ in range(20):
                        loss_of(model, *windows(part))
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        loss = loss_of(model, *windows(train))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model, time.perf_counter() - start


@torch.no_grad()
def whole_loss(model: nn.Module, ids: Tensor) -> float:
    """Over all windows, one after another."""
    rows = ids[: (len(ids) - 1) // LENGTH * LENGTH + 1]
    inputs, targets = rows[:-1].view(-1, LENGTH), rows[1:].view(-1, LENGTH)
    total = sum(
        float(loss_of(model, inputs[i : i + 64], targets[i : i + 64])) * inputs[i : i + 64].numel()
        for i in range(0, len(inputs), 64)
    )
    return total / inputs.numel()


def main() -> None:
    """Train both, print, and write if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = given.text.read_text(encoding="utf-8")
    letters = {letter: i for i, letter in enumerate(sorted(set(text)))}
    ids = torch.tensor([letters[letter] for letter in text])
    cut = int(len(ids) * 0.9)
    torch.manual_seed(1337)
    peer, seconds = train_peer(ids[:cut], ids[cut:], len(letters))
    theirs = whole_loss(peer, ids[cut:])
    with TemporaryDirectory() as folder:
        run = Path(folder, "run")
        changes = [f"data.train={given.text}", f"training.minutes={seconds / 60}", *given.changes]
        begin = time.perf_counter()
        sublayer.train("recipes/shakespeare_char.toml", run, changes)
        whole = time.perf_counter() - begin
        ours = evaluate(run, "valid").outcome.metrics["nll"].value
    lines = [
        f"# Tiny Shakespeare, {date.today()}",
        "",
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}.",
        "",
        "| | seconds | validation loss |",
        "|---|---|---|",
        f"| nanoGPT's recipe for a CPU | {seconds:.0f} | {theirs:.3f} |",
        f"| recipes/shakespeare_char.toml | {seconds:.0f} | {ours:.3f} |",
        "",
        f"With tokenizing, the last measurement and the curves the second takes {whole:.0f} s.",
        "",
    ]
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
