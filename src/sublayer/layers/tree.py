"""Softmax over words as turns in a binary tree, whose leaves they are."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sublayer.layers.precision import widened


def huffman(counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The tree of least mean depth (Huffman 1952): the parent of each node, and its side there.

    Nodes 0 to v - 2 are inner ones, 0 the root, which is its own parent; behind them are the v
    words in order. A side is 0 or 1. Both are `2v-1`, int64.
    """
    v = len(counts)
    assert v > 1, "a tree has two words or more"
    parent, side = [0] * (2 * v - 1), [0] * (2 * v - 1)
    heap = [(count, word, v - 1 + word) for word, count in enumerate(counts)]
    heapify(heap)
    for made, inner in enumerate(range(v - 2, -1, -1)):
        total = 0
        for turn in (0, 1):
            count, _, node = heappop(heap)
            parent[node], side[node] = inner, turn
            total += count
        heappush(heap, (total, v + made, inner))  # of equal counts the older goes first
    return torch.tensor(parent), torch.tensor(side)


@final
class HierarchicalSoftmax(nn.Module):
    """P(word | x) as the product of its turns from the root (Morin & Bengio 2005).

    A turn to side 0 at an inner node has probability sigmoid(node . x) (Mikolov et al. 2013b, eq.
    3). Before `plant` the tree is balanced.
    """

    parent: Tensor
    side: Tensor

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.nodes = nn.Embedding(vocab_size - 1, d_model)
        heap = torch.arange(1, 2 * vocab_size)  # numbered so, the parent of i is i / 2
        self.register_buffer("parent", torch.div(heap, 2, rounding_mode="floor").sub(1).clamp(0))
        self.register_buffer("side", heap % 2)

    @torch.no_grad()
    def plant(self, counts: Sequence[int]) -> None:
        """Take Huffman's tree for words of these counts."""
        parent, side = huffman(counts)
        self.parent.copy_(parent)
        self.side.copy_(side)

    def paths(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Words `...` -> inner nodes above them, `... l`, signs of the turns, and which are real.

        From the word upward; `l` is the longest path, shorter ones are filled with the root.
        """
        node = ids + self.vocab_size - 1
        nodes, signs, real = [], [], []
        while bool((node > 0).any()):
            nodes.append(self.parent[node])
            signs.append(1 - 2 * self.side[node])
            real.append(node > 0)
            node = nodes[-1]
        return torch.stack(nodes, -1), torch.stack(signs, -1), torch.stack(real, -1)

    def loss(self, x: Tensor, ids: Tensor, near: Tensor) -> Tensor:
        """The sum of -log P(ids_s | x_t) where `near`: `g t m`, `g s`, `g t s`."""
        nodes, signs, real = self.paths(ids)
        rows = self.nodes(nodes).flatten(1, 2)  # g s*l m
        scores = widened(x @ rows.transpose(1, 2)).unflatten(2, nodes.shape[1:])  # g t s l
        turns = F.softplus(-scores * signs.unsqueeze(1)) * real.unsqueeze(1)
        return (turns.sum(-1) * near).sum()

    def log_probabilities(self, x: Tensor) -> Tensor:
        """`b m` -> `b v`: the logarithm of every word's probability."""
        scores = x @ self.nodes.weight.T
        nodes, signs, real = self.paths(torch.arange(self.vocab_size, device=x.device))
        total = x.new_zeros(len(x), self.vocab_size)
        for node, sign, is_real in zip(nodes.T, signs.T, real.T, strict=True):
            total = total + F.logsigmoid(scores[:, node] * sign) * is_real
        return total
