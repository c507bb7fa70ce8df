"""Training speed beside the peers: target tokens a second, all contenders in one run, taking turns.

    python benchmarks/train.py [--out benchmarks/results/FILE.md] [--rounds 5]

Every contender has the same sizes, batch, vocabulary, dropout of 0.1, label smoothing of 0.1, fused
Adam and gradient clipping, and takes whole training steps. nn.Transformer drops out attention
weights and feed-forward activations too, as its one knob does; the rows without dropout show what
that is worth. The sizes `gpt-*` are decoders: transformers' GPT-2, and plain PyTorch as nanoGPT's
users write it, without label smoothing.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from decoders import HuggingFaceGPT, PlainGPT, loss_of, our_gpt, windows
from torch import Tensor, nn
from torch.nn import functional as F

import sublayer
from sublayer.config.schema import Optimizer
from sublayer.data.batch import Batch, Labelled
from sublayer.layers.precision import has_bfloat16
from sublayer.objectives.base import Objective
from sublayer.objectives.causal import Causal
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.training.optimizers import make_optimizer

VOCABULARY = 8000
SMOOTHING = 0.1


@dataclass(frozen=True)
class Size:
    """A model and its batch."""

    name: str
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    rows: int
    tokens: int


@dataclass(frozen=True)
class DecoderSize(Size):
    """A decoder alone; `tokens` are those of a window."""

    vocab_size: int = 50_257


SIZES = {
    "gpt-small": DecoderSize("gpt-small", 768, 12, 12, 3072, rows=4, tokens=256),
    "gpt-mini": DecoderSize(
        "gpt-mini", 256, 6, 4, 1024, rows=16, tokens=256, vocab_size=VOCABULARY
    ),
    "base": Size("base", 512, 6, 8, 2048, rows=64, tokens=16),
    "tiny": Size("tiny", 128, 3, 4, 512, rows=256, tokens=16),
}


class TorchTransformer(nn.Module):
    """`torch.nn.Transformer` with embeddings, sinusoids and shared head, as in its tutorial."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.body = nn.Transformer(
            size.d_model,
            size.n_heads,
            size.n_layers,
            size.n_layers,
            size.d_ff,
            dropout,
            batch_first=True,
        )
        self.embed = nn.Embedding(VOCABULARY, size.d_model)
        self.head = nn.Linear(size.d_model, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("positions", torch.randn(512, size.d_model))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Ids to logits."""
        scale = self.head.in_features**0.5
        x, y = (
            self.dropout(self.embed(t) * scale + self.positions[: t.shape[1]])
            for t in (source, target)
        )
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        return self.head(self.body(x, y, tgt_mask=mask, tgt_is_causal=True))


class Marian(nn.Module):
    """Hugging Face's MarianMT."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        from transformers import MarianConfig, MarianMTModel

        self.model = MarianMTModel(
            MarianConfig(
                vocab_size=VOCABULARY,
                d_model=size.d_model,
                encoder_layers=size.n_layers,
                decoder_layers=size.n_layers,
                encoder_attention_heads=size.n_heads,
                decoder_attention_heads=size.n_heads,
                encoder_ffn_dim=size.d_ff,
                decoder_ffn_dim=size.d_ff,
                dropout=dropout,
                attention_dropout=0.0,
                activation_dropout=0.0,
                pad_token_id=0,
                decoder_start_token_id=1,
            )
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Ids to logits."""
        return self.model(input_ids=source, decoder_input_ids=target, use_cache=False).logits


def decoder_steps(
    size: DecoderSize, dropout: float, dtype: str, *, bf16: bool
) -> dict[str, Callable[[], None]]:
    """A training step of each contender on the same windows."""
    batch = windows(size.vocab_size, size.rows, size.tokens)
    numbers = (size.vocab_size, size.d_model, size.n_layers, size.n_heads, size.d_ff)
    plain, theirs = PlainGPT(*numbers, dropout=dropout), HuggingFaceGPT(*numbers, dropout=dropout)
    ours = our_gpt(*numbers, dropout=dropout)
    return {
        f"sublayer {dtype}": our_taking(ours, Causal(), batch, bf16=bf16),
        f"plain PyTorch {dtype}": taking(plain, loss_of(plain, batch), bf16=bf16),
        f"transformers GPT-2 {dtype}": taking(theirs, loss_of(theirs, batch), bf16=bf16),
    }


def peer_step(model: nn.Module, batch: Batch, *, bf16: bool) -> Callable[[], None]:
    """A training step of an encoder-decoder as the peers' users write it."""

    def mean_loss() -> Tensor:
        logits = model(batch.source, batch.target_in)
        return F.cross_entropy(
            logits.flatten(0, 1), batch.target_out.flatten(), label_smoothing=SMOOTHING
        )

    return taking(model, mean_loss, bf16=bf16)


def taking(model: nn.Module, mean_loss: Callable[[], Tensor], *, bf16: bool) -> Callable[[], None]:
    """A training step of a peer."""
    optimizer = torch.optim.Adam(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True
    )
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            loss = mean_loss()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def our_step(size: Size, batch: Batch, dropout: float, *, bf16: bool) -> Callable[[], None]:
    """A training step of an encoder-decoder as `sublayer train` takes it."""
    network = sublayer.build(
        "transformer",
        vocab_size=VOCABULARY,
        d_model=size.d_model,
        n_layers=size.n_layers,
        n_heads=size.n_heads,
        d_ff=size.d_ff,
        dropout=dropout,
    )
    return our_taking(network, Seq2Seq(SMOOTHING), batch, bf16=bf16)


def our_taking(
    network: nn.Module, objective: Objective, batch: Batch | Labelled, *, bf16: bool
) -> Callable[[], None]:
    """A training step as the loop takes it."""
    optimizer = make_optimizer(network.train(), Optimizer())
    optimizer.param_groups[0]["lr"] = 1e-4

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = objective(network, batch)
        (loss.total / loss.tokens).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
        optimizer.step()

    return step


def make_batch(size: Size) -> Batch:
    """Random ids without padding: every contender does the same work."""
    ids = torch.randint(4, VOCABULARY, (size.rows, 2 * size.tokens + 1))
    valid = torch.ones(size.rows, size.tokens, dtype=torch.bool)
    return Batch(ids[:, : size.tokens], None, ids[:, size.tokens :], valid, size.rows * size.tokens)


def measure(steps: dict[str, Callable[[], None]], tokens: int, rounds: int) -> dict[str, float]:
    """Median tokens a second of each contender; they take turns, so that noise meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(2):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(3):
                step()
            times[name].append((time.perf_counter() - start) / 3)
    return {name: tokens / statistics.median(taken) for name, taken in times.items()}


def compare(size: Size, dropout: float, rounds: int) -> list[str]:
    """Lines of a Markdown table."""
    torch.manual_seed(0)
    batch = make_batch(size)
    steps: dict[str, Callable[[], None]] = {}
    for dtype in ("bfloat16", "float32"):
        bf16 = dtype == "bfloat16"
        if bf16 and not has_bfloat16(torch.device("cpu")):
            continue
        if isinstance(size, DecoderSize):
            steps |= decoder_steps(size, dropout, dtype, bf16=bf16)
            continue
        steps[f"sublayer {dtype}"] = our_step(size, batch, dropout, bf16=bf16)
        steps[f"nn.Transformer {dtype}"] = peer_step(
            TorchTransformer(size, dropout), batch, bf16=bf16
        )
        steps[f"MarianMT {dtype}"] = peer_step(Marian(size, dropout), batch, bf16=bf16)
    rates = measure(steps, size.rows * size.tokens, rounds)
    best = rates[next(iter(rates))]
    layers = str(size.n_layers)
    layers += "" if isinstance(size, DecoderSize) else f"+{layers}"
    shape = (
        f"d_model {size.d_model}, {layers} layers, "
        f"batch {size.rows} x {size.tokens}, dropout {dropout}"
    )
    lines = [
        f"### {size.name}: {shape}",
        "",
        "| contender | target tokens/s | sublayer is faster by |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {rate:,.0f} | {best / rate:.2f} |" for name, rate in rates.items()]
    return [*lines, ""]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES))
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.1, 0.0])
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    lines = [
        f"# Training speed, {date.today()}",
        "",
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}; "
        f"medians of {given.rounds} rounds of 3 steps, taking turns.",
        "",
    ]
    print("\n".join(lines))
    for name in given.sizes:
        for dropout in given.dropout:
            table = compare(SIZES[name], dropout, given.rounds)
            print("\n".join(table), flush=True)
            lines += table
    if given.out:
        given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
