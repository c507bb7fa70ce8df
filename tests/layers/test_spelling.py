"""Words from letters against PyTorch's convolutions, one word at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.layers.convolution import WordWindows
from sublayer.layers.spelling import Highway, SpelledWords

D, FILTERS = 6, [(1, 3), (2, 4), (3, 5), (5, 7)]
WORDS = [[9, 4, 5, 6, 7, 8], [9, 8], [9, 5, 8], [9, 6, 6, 6, 6, 6, 6, 8]]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def made() -> SpelledWords:
    torch.manual_seed(3)
    n = sum(n for _, n in FILTERS)
    return SpelledWords(
        nn.Embedding(10, D),
        WordWindows(D, FILTERS),
        [Highway(n), Highway(n)],
        nn.Linear(n, 8),
    )


def padded(words: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([word + [0] * (width - len(word)) for word in words])


def by_conv1d(network: SpelledWords, word: list[int]) -> torch.Tensor:
    """One word, alone, by the papers' formulas."""
    letters = network.letters.weight[torch.tensor(word)].T.unsqueeze(0)  # 1 m c
    found = []
    for (width, n), product in zip(FILTERS, network.windows.products, strict=True):
        conv = nn.Conv1d(D, n, width)
        conv.weight = nn.Parameter(product.weight.unflatten(1, (width, D)).transpose(1, 2))
        conv.bias = product.bias
        whole = F.pad(letters, (0, max(0, width - len(word))))
        found.append(F.relu(conv(whole)).amax(2)[0])
    y = torch.cat(found)
    for highway in network.highways:
        t = torch.sigmoid(highway.gate.weight @ y + highway.gate.bias)
        y = t * torch.relu(highway.transform.weight @ y + highway.transform.bias) + (1 - t) * y
    return network.out.weight @ y + network.out.bias


@torch.no_grad()
def test_each_word_is_what_conv1d_makes_of_it():
    network = made()
    found = network(padded(WORDS, 8).view(2, 2, 8)).flatten(0, 1)
    for word, vector in zip(WORDS, found, strict=True):
        torch.testing.assert_close(vector, by_conv1d(network, word), **CLOSE)


@torch.no_grad()
def test_padding_is_no_letter():
    network = made()
    narrow, wide = (network(padded(WORDS, width).unsqueeze(0)) for width in (8, 13))
    torch.testing.assert_close(narrow, wide, **CLOSE)
    nn.init.normal_(network.letters.weight[0])
    torch.testing.assert_close(network(padded(WORDS, 8).unsqueeze(0)), narrow, **CLOSE)
    assert network(torch.zeros(1, 2, 4, dtype=torch.long)).isfinite().all()


def test_a_closed_gate_lets_all_through():
    highway, x = Highway(5), torch.randn(3, 5)
    nn.init.constant_(highway.gate.bias, -60.0)
    torch.testing.assert_close(highway(x), x)
    nn.init.constant_(highway.gate.bias, 60.0)
    torch.testing.assert_close(highway(x), F.relu(highway.transform(x)))
    highway.begin_open()
    assert (highway.gate.bias < 0).all()


@pytest.mark.parametrize("grad", [False, True])
def test_backward_reaches_every_parameter(grad):
    network = made()
    with torch.set_grad_enabled(grad):
        out = network(padded(WORDS, 8).unsqueeze(0))
    if grad:
        out.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    else:
        assert not out.requires_grad
