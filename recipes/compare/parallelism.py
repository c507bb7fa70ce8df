"""Comparison 5, parallelism: recurrence, convolution and self-attention as sequences get longer.

    python recipes/compare/parallelism.py [--quick] [--out FOLDER]

Three bodies of one width are trained on random vectors: an LSTM, a dilated causal convolution
(WaveNet's, as many layers as its reach needs), a block of causal self-attention. Measured are

- tokens a second, forward and backward, with as many tokens a batch at every length;
- sequential operations: products one behind another, on the longest way through the graph of a
  forward pass in parallel. PyTorch's fused LSTM hides its steps, so a loop over its cell is walked;
- path length: how many steps or layers stand between the first position and the last. A link is cut
  (a step's states, a convolution's older input, an attention's values) and the gradient of the last
  output by the first input is looked at: if it is gone, every way leads through the link.

Expected (Vaswani et al. 2017, table 1): sequential operations grow with the length for the
recurrence alone, the path for it too, with its logarithm for the convolution, and not for
self-attention; tokens a second fall with length for self-attention, whose scores are quadratic.
Measured on one core of an AMD EPYC in 4 minutes: as expected (65 tokens: 65, 14 and 6 products,
paths of 64, 7 and 1), but with no core beside it the recurrence is the fastest at every length.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sublayer.layers.attention import SelfAttention
from sublayer.layers.block import Block, Body, Stack
from sublayer.layers.convolution import CausalConvolution, DilatedStack, GatedConvolution
from sublayer.layers.feedforward import FeedForward
from sublayer.layers.init import glorot
from sublayer.layers.mask import Causal
from sublayer.layers.position import Position
from sublayer.layers.recurrent import LSTMCell, RecurrentEncoder
from sublayer.layers.residual import PreNorm

WIDTH, HEADS, TOKENS = 256, 4, 4096
LENGTHS, QUICK = (32, 64, 128, 256, 512, 1024), (32, 128)
COUNTED, COUNTED_QUICK = (5, 9, 17, 33, 65), (5, 9)
PRODUCTS = {"AddmmBackward0", "MmBackward0", "BmmBackward0", "BaddbmmBackward0"}
"""Nodes of the graph that are matrix products."""
FUSED = {"ScaledDotProductFlashAttentionForCpuBackward0": 2}
"""Kernels that are several, one behind another: scores, and the values mixed by them."""


class Loop(Body):
    """An LSTM of ours step by step, so that the graph has its steps; `cut` is where it forgets."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.cut = LSTMCell(WIDTH, WIDTH), 0

    def forward(self, x: Tensor, *context: object) -> Tensor:
        """`b n m` -> `b n m`."""
        first, outputs = x.new_zeros(len(x), 1, WIDTH), []
        states = (first, first)
        for step, read in enumerate(self.cell.read(x).split(1, 1)):
            if step and step == self.cut:
                states = (states[0].detach(), states[1].detach())
            states = self.cell(read, states)
            outputs.append(states[0])
        return torch.cat(outputs, 1)


def recurrence(length: int) -> Body:
    """The fused one, for speed."""
    return RecurrentEncoder(LSTMCell, (WIDTH, WIDTH), 1)


def convolution(length: int) -> Body:
    """Of so many layers that the last position is reached from the first."""
    blocks, dilation = [], 1
    while 2 * dilation < length - 1:
        blocks.append(GatedConvolution(WIDTH, WIDTH, 2, dilation))
        dilation *= 2
    blocks.append(GatedConvolution(WIDTH, WIDTH, 2, dilation, is_last=True))
    return DilatedStack(CausalConvolution(WIDTH, WIDTH, 2), blocks, WIDTH)


def attention(length: int) -> Body:
    """One block, without positions."""
    parts = (SelfAttention(WIDTH, HEADS), FeedForward(WIDTH, 4 * WIDTH, nn.ReLU()))
    return Stack([Block(*(PreNorm(part, nn.LayerNorm(WIDTH)) for part in parts))], Position())


BODIES: dict[str, Callable[[int], Body]] = {
    "recurrence": recurrence,
    "convolution": convolution,
    "self-attention": attention,
}


def speed(body: Body, length: int, rounds: int) -> float:
    """Median tokens a second, forward and backward."""
    x, taken = torch.randn(TOKENS // length, length, WIDTH), []
    for turn in range(rounds + 1):
        start = time.perf_counter()
        body(x, Causal()).square().mean().backward()
        if turn:  # the first is warming up
            taken.append(time.perf_counter() - start)
    return TOKENS / statistics.median(taken)


def cost(node) -> int:
    """Products that a node of the graph is."""
    name = node.name()
    return FUSED.get(name, int(name in PRODUCTS))


def longest(output: Tensor) -> int:
    """Products one behind another on the longest way to an output."""
    depth: dict = {}
    stack = [(output.grad_fn, False)]
    while stack:
        node, is_done = stack.pop()
        if node is None or node in depth:
            continue
        before = [n for n, _ in node.next_functions if n is not None]
        if is_done:
            depth[node] = cost(node) + max((depth[n] for n in before), default=0)
        else:
            stack += [(node, True), *((n, False) for n in before)]
    return depth[output.grad_fn]


def connects(body: Body, length: int) -> bool:
    """Whether the last output feels the first input."""
    x = torch.randn(1, length, WIDTH, requires_grad=True)
    body(x, Causal())[:, -1].sum().backward()
    return bool(x.grad is not None and x.grad[:, 0].any())


def path(body: Body, length: int) -> int:
    """Links that every way from the first position to the last leads through."""
    assert connects(body, length), "the body is made to reach the first position"
    if isinstance(body, Loop):
        found = 0
        for body.cut in range(1, length):
            found += not connects(body, length)
        return found
    found = 0
    for part in body.modules():
        if isinstance(part, CausalConvolution):
            link = part.product.weight[:, :WIDTH]  # of the older input
        elif isinstance(part, SelfAttention):
            link = part.v.weight
        else:
            continue
        link, kept = link.detach(), link.detach().clone()
        link.zero_()
        found += not connects(body, length)
        link.copy_(kept)
    return found


def counted(name: str, length: int) -> tuple[int, int]:
    """Sequential operations, and the path from the first position to the last."""
    body = Loop() if name == "recurrence" else BODIES[name](length)
    glorot(body)  # no biases: an attention without values is to give nothing
    return longest(body(torch.randn(1, length, WIDTH), Causal()).sum()), path(body, length)


def draw(speeds: dict[str, list[float]], lengths: tuple[int, ...], file: Path) -> None:
    """Tokens a second against length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in speeds.items():
        axes.plot(lengths, values, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="length", ylabel="tokens a second")
    axes.legend()
    figure.savefig(file)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lengths, counts = (QUICK, COUNTED_QUICK) if given.quick else (LENGTHS, COUNTED)
    rounds = 2 if given.quick else 5
    speeds = {name: [speed(make(n), n, rounds) for n in lengths] for name, make in BODIES.items()}
    lines = ["| tokens a second at length | " + " | ".join(map(str, lengths)) + " |"]
    lines.append("|---" * (len(lengths) + 1) + "|")
    lines += [
        f"| {name} | " + " | ".join(f"{v:,.0f}" for v in of) + " |" for name, of in speeds.items()
    ]
    lines += ["", "| products at length | " + " | ".join(map(str, counts)) + " |"]
    lines.append("|---" * (len(counts) + 1) + "|")
    for name in BODIES:
        both = [counted(name, n) for n in counts]
        for what, of in zip(("sequential", "path"), zip(*both, strict=True), strict=True):
            lines.append(f"| {name}, {what} | " + " | ".join(map(str, of)) + " |")
    print("\n".join(lines))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "parallelism.md").write_text("\n".join([*lines, ""]))
        draw(speeds, lengths, given.out / "parallelism.png")


if __name__ == "__main__":
    main()
