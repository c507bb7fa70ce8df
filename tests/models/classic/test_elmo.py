"""ELMo: one head for both directions, vectors that labels are read from, parts that stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sublayer.models.base import build, configure
from sublayer.scaling.count import count

KEYS = {"d_model": 6, "d_cell": 10, "filters": [3, 4, 5], "d_letter": 4, "d_reader": 5}
LETTERS = torch.randint(4, 260, (3, 5, 7), generator=torch.Generator().manual_seed(0))
LETTERS[..., 5:] = 0
LETTERS[1, 2:], LETTERS[2, 4:] = 0, 0
VALID = LETTERS[..., 0] != 0


def made(head="words", **keys):
    torch.manual_seed(1)
    return build("elmo", vocab_size=11, head=head, **(KEYS | keys)).eval()


@torch.no_grad()
def test_one_matrix_tells_the_word_behind_and_the_word_before():
    network = made()
    assert [name for name, p in network.named_parameters() if 11 in p.shape] == [
        "head.weight",
        "head.bias",
    ]
    logits, hidden = network(LETTERS, VALID), network.hidden(LETTERS, VALID)
    last = hidden[..., -12:]
    for side, own in enumerate((last[..., :6], last[..., 6:])):
        torch.testing.assert_close(logits[:, :, side], own @ network.head.weight.T)
    assert network.layers(hidden).shape == (3, 5, 3, 12)
    words = network.embed(LETTERS)
    torch.testing.assert_close(network.layers(hidden)[..., 0, :], torch.cat([words, words], -1))


@torch.no_grad()
def test_a_row_does_not_feel_its_padding():
    network = made()
    together = network(LETTERS, VALID)
    for row, length in enumerate(VALID.sum(1).tolist()):
        alone = network(LETTERS[row : row + 1, :length, :6])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_words_are_told_without_being_seen():
    """What tells a word does not change with it."""
    network, other = made(), LETTERS.clone()
    other[0, 2, 1:4] = torch.tensor([7, 8, 9])
    with torch.no_grad():
        before, after = network(LETTERS, VALID)[0], network(other, VALID)[0]
    changed = (before - after).abs().amax(-1) > 1e-7  # n 2
    assert changed[:, 0].tolist() == [False, False, True, True, True]
    assert changed[:, 1].tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("head", ["tag", "classify"])
@pytest.mark.parametrize("d_reader", [0, 5])
def test_labels_leave_the_language_model_as_it_is(head, d_reader):
    network = made(head, n_labels=3, d_reader=d_reader).train()
    assert network(LETTERS, VALID).shape == ((3, 5, 3) if head == "tag" else (3, 3))
    network(LETTERS, VALID).square().sum().backward()
    for name, p in network.named_parameters():
        assert (p.grad is not None) == name.startswith(("pooler.", "head.")), name
    torch.testing.assert_close(  # without a dropout of its own
        network.hidden(LETTERS, VALID), network.hidden(LETTERS, VALID), rtol=0, atol=0
    )
    tuned = made(head, frozen=False, d_reader=d_reader)
    tuned(LETTERS, VALID).square().sum().backward()
    assert all(p.grad is not None for p in tuned.parameters())


@torch.no_grad()
def test_labels_of_a_row_do_not_feel_its_padding():
    for head in ("tag", "classify"):
        network = made(head, n_labels=3)
        together = network(LETTERS, VALID)
        for row, length in enumerate(VALID.sum(1).tolist()):
            alone = network(LETTERS[row : row + 1, :length])[0]
            own = together[row, :length] if head == "tag" else together[row]
            torch.testing.assert_close(own, alone, rtol=1e-4, atol=1e-5)


def test_it_begins_as_said():
    network = made(d_model=10)
    assert all(highway.gate.bias.lt(0).all() for highway in network.embed.highways)
    assert all(not layer.proj_size for layer in network.stack.forward_layers)
    layer = made().stack.backward_layers[1]
    for gate in layer.weight_hh_l0.chunk(4):
        torch.testing.assert_close(gate.T @ gate, torch.eye(6), rtol=1e-5, atol=1e-5)


def test_more_width_than_cells_is_refused():
    with pytest.raises(ValueError, match="d_cell 5 is less than d_model 6, to which cells"):
        configure("elmo", vocab_size=11, **(KEYS | {"d_cell": 5}))


def test_products_are_counted_with_their_projection():
    """Two FLOPs for each weight of a matrix at each word; of a filter at each letter."""
    n, c = 5, 7
    network = made(n_highways=1)
    parts = {part.name: part for part in count(lambda: made(n_highways=1), (n, c)).parts}
    recurrent = 2 * 2 * (2 * 4 * 10 * 6 + 10 * 6)  # two directions of two layers
    assert parts["stack recurrences"].flops == 2 * n * recurrent
    filters = sum(p.weight.numel() for p in network.embed.windows.products)
    assert parts["embed convolutions"].flops == 2 * n * c * filters
    assert parts["embed highways"].flops == 2 * n * 2 * 12 * 12
    assert parts["head"].flops == 2 * n * 2 * 6 * 11
    assert count(lambda: made(n_highways=1), (n, c)).tokens == n
    assert sum(part.parameters for part in parts.values()) == sum(
        p.numel() for p in network.parameters()
    )


def test_bilstm_labels_and_frozen_vectors():
    torch.manual_seed(0)
    ids, valid = LETTERS[..., 0] % 11, VALID
    for head, frozen in (("tag", True), ("classify", False)):
        keys = {"vocab_size": 11, "head": head, "frozen": frozen, "n_labels": 3}
        network = build("bilstm", "tiny", **keys).eval()
        together = network(ids, valid)
        together.sum().backward()
        assert (network.embed.table.weight.grad is None) == frozen
        for row, length in enumerate(valid.sum(1).tolist()):
            own = together[row, :length] if head == "tag" else together[row]
            alone = network(ids[row : row + 1, :length])[0]
            torch.testing.assert_close(own, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_bilstm_is_nn_lstm():
    network = build("bilstm", "tiny", vocab_size=11, n_labels=3).eval()
    theirs = nn.LSTM(64, 64, batch_first=True, bidirectional=True)
    for suffix, layers in (
        ("", network.stack.forward_layers),
        ("_reverse", network.stack.backward_layers),
    ):
        for name, p in layers[0].named_parameters():
            theirs.get_parameter(name + suffix).copy_(p)
    ids = torch.arange(8).view(2, 4)
    expected = network.head(theirs(network.embed.table.weight[ids])[0])
    torch.testing.assert_close(network(ids), expected, rtol=1e-5, atol=1e-5)
