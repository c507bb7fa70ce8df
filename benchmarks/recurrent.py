"""Training speed of recurrent models beside a loop over `nn.LSTM`, in one run, taking turns.

    python benchmarks/recurrent.py [--out FILE.md] [--rounds 5] [--threads N]

The peer is what toolkits of the time do (JoeyNMT, OpenNMT): a two-way LSTM encoder, a decoder that
calls `nn.LSTM` a token at a time on the embedding and the last attentional vector, Luong's general
score, a tanh layer, logits of all steps at the end. All have the same vocabulary, batch, dropout,
label smoothing, Adam and clipping. The peer comes with `d_model` in both directions together, as
JoeyNMT has it, and wide, with as much in each direction as RNNsearch has: each of ours is compared
with the one of its own widths.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn
from train import SMOOTHING, VOCABULARY, Size, make_batch, measure, our_taking, peer_step

import sublayer
from sublayer.layers.precision import has_bfloat16
from sublayer.objectives.seq2seq import Seq2Seq
from sublayer.training.allocator import keep_freed_memory

SIZES = {
    "base": Size("base", 512, 1, 1, 0, rows=64, tokens=24),
    "tiny": Size("tiny", 128, 1, 1, 0, rows=128, tokens=24),
}


class Loop(nn.Module):
    """A decoder of `nn.LSTM`, one token at a time."""

    def __init__(self, d_model: int, dropout: float, *, wide: bool) -> None:
        super().__init__()
        d_memory = 2 * d_model if wide else d_model
        self.source, self.target = (nn.Embedding(VOCABULARY, d_model) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.LSTM(d_model, d_memory // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.LSTM(2 * d_model, d_model, batch_first=True)
        self.bridge, self.key = (nn.Linear(d_memory, d_model) for _ in range(2))
        self.said = nn.Linear(d_memory + d_model, d_model)
        self.head = nn.Linear(d_model, VOCABULARY, bias=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Ids to logits."""
        memory, (last, _) = self.encoder(self.dropout(self.source(source)))
        keys = self.key(memory)
        first = torch.tanh(self.bridge(torch.cat([last[0], last[1]], -1))).unsqueeze(0)
        states, said, all_said = (first, first), memory.new_zeros(len(source), 1, keys.shape[2]), []
        embedded = self.dropout(self.target(target))
        for i in range(target.shape[1]):
            read = torch.cat([embedded[:, i : i + 1], said], -1)
            h, states = self.decoder(read, states)
            weights = (h @ keys.mT).softmax(-1)
            said = torch.tanh(self.said(torch.cat([weights @ memory, h], -1)))
            all_said.append(said)
        return self.head(self.dropout(torch.cat(all_said, 1)))


PEERS = {"nn.LSTM loop": False, "wide nn.LSTM loop": True}
OURS = {
    "RNNsearch": {"attention": "bahdanau"},
    "Luong, input feeding": {"attention": "luong", "cell": "lstm"},
    "Luong, without": {"attention": "luong", "cell": "lstm", "input_feeding": False},
    "no attention": {"attention": "none", "cell": "lstm"},
}


def compare(size: Size, dropout: float, rounds: int) -> list[str]:
    """Lines of a Markdown table."""
    torch.manual_seed(0)
    batch, steps = make_batch(size), dict[str, Callable[[], None]]()
    for dtype in ("bfloat16", "float32"):
        bf16 = dtype == "bfloat16"
        if bf16 and not has_bfloat16(torch.device("cpu")):
            continue
        for name, wide in PEERS.items():
            peer = Loop(size.d_model, dropout, wide=wide)
            steps[f"{name}, {dtype}"] = peer_step(peer, batch, bf16=bf16)
        for name, keys in OURS.items():
            network = sublayer.build(
                "rnn_seq2seq",
                vocab_size=VOCABULARY,
                source_vocab_size=VOCABULARY,
                d_model=size.d_model,
                dropout=dropout,
                **keys,
            )
            steps[f"{name}, {dtype}"] = our_taking(network, Seq2Seq(SMOOTHING), batch, bf16=bf16)
    rates = measure(steps, size.rows * size.tokens, rounds)
    lines = [
        f"### {size.name}: d_model {size.d_model}, batch {size.rows} x {size.tokens}",
        "",
        "| contender | target tokens/s | times the loop of its type and widths |",
        "|---|---|---|",
    ]
    for name, rate in rates.items():
        of_width = "wide nn.LSTM loop" if name.startswith(("RNNsearch", "wide")) else "nn.LSTM loop"
        peer = rates[f"{of_width}, {name.split(', ')[-1]}"]
        lines.append(f"| {name} | {rate:,.0f} | {rate / peer:.2f} |")
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
    parser.add_argument("--dropout", type=float, default=0.1)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    keep_freed_memory()  # as `sublayer train` does; here it serves the peers too
    lines = [
        f"# Training speed of recurrent models, {date.today()}",
        "",
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of "
        f"{given.rounds} rounds of 3 steps, taking turns; dropout {given.dropout}.",
        "",
    ]
    for name in given.sizes:
        lines += compare(SIZES[name], given.dropout, given.rounds)
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
