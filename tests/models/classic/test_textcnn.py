"""TextCNN against an independent one of PyTorch's two-dimensional convolutions, as in the paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sublayer.models.base import build, configure
from sublayer.models.hub import load_network, network_tensors, write_config, write_tensors

KEYS = {"vocab_size": 30, "d_model": 6, "n_filters": 4, "widths": [2, 3, 5], "n_labels": 3}
CHANNELS = ["tuned", "static", "both"]
LENGTHS = [9, 1, 4, 2]
IDS = torch.randint(1, 30, (4, 9), generator=torch.Generator().manual_seed(0))
VALID = torch.arange(9) < torch.tensor(LENGTHS).unsqueeze(1)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def make(**keys):
    torch.manual_seed(1)
    network = build("textcnn", **(KEYS | keys)).eval()
    for table in tables(network):
        nn.init.normal_(table.weight)
    return network


def tables(network):
    return [part for part in network.modules() if isinstance(part, nn.Embedding)]


def by_conv2d(network, ids):
    """One text `n`, alone: a picture of words by width, a colour for each channel."""
    picture = torch.stack([table.weight[ids] for table in tables(network)]).unsqueeze(0)  # 1 c n m
    pooled = []
    for product in network.stack.products:
        height = product.in_features // (len(tables(network)) * KEYS["d_model"])
        conv = nn.Conv2d(len(tables(network)), KEYS["n_filters"], (height, KEYS["d_model"]))
        weight = product.weight.unflatten(1, (height, len(tables(network)), -1))  # f h c m
        conv.weight, conv.bias = nn.Parameter(weight.transpose(1, 2)), product.bias
        whole = F.pad(picture, (0, 0, 0, max(0, height - len(ids))))
        features = F.relu(conv(whole)).squeeze(3)
        pooled.append(F.max_pool1d(features, features.shape[2]).squeeze(2))
    return F.linear(torch.cat(pooled, 1), network.head.weight, network.head.bias)[0]


@pytest.mark.parametrize("channels", CHANNELS)
@torch.no_grad()
def test_each_text_of_a_batch_is_what_conv2d_makes_of_it_alone(channels):
    network = make(channels=channels)
    for row, logits in enumerate(network(IDS, VALID)):
        torch.testing.assert_close(logits, by_conv2d(network, IDS[row, : LENGTHS[row]]), **CLOSE)


@torch.no_grad()
def test_padding_changes_nothing():
    network = make()
    expected = network(IDS, VALID)
    other = IDS.where(VALID, IDS.flip(0))
    assert torch.equal(network(other, VALID), expected)
    wider = F.pad(IDS, (0, 5), value=7), F.pad(VALID, (0, 5))
    torch.testing.assert_close(network(*wider), expected, **CLOSE)
    torch.testing.assert_close(network(IDS[:1]), expected[:1], **CLOSE)


@torch.no_grad()
def test_the_last_words_are_read_by_whole_windows_alone():
    """A text whose best window would reach into the padding."""
    network = make(widths=[2], n_filters=1)
    nn.init.constant_(network.stack.products[0].weight, -1.0)
    nn.init.constant_(network.embed.embeddings[0].table.weight, 1.0)
    ids = torch.ones(1, 4, dtype=torch.long)
    network.stack.products[0].bias.fill_(8.0)  # a word and padding would be 8 - 6, two words 0
    features = network.hidden(ids, torch.tensor([[True, True, True, False]]))
    assert features.flatten().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("channels", CHANNELS)
def test_what_is_static_has_no_gradient_and_both_begin_alike(channels):
    torch.manual_seed(0)
    network = build("textcnn", **KEYS, channels=channels)
    found = tables(network)
    assert len(found) == 1 + (channels == "both")
    assert torch.equal(found[0].weight, found[-1].weight)
    network(IDS, VALID).sum().backward()
    assert [table.weight.grad is not None for table in found] == {
        "tuned": [True],
        "static": [False],
        "both": [False, True],
    }[channels]


def test_static_vectors_are_saved_with_the_rest(tmp_path):
    network = make(channels="both")
    write_config(configure("textcnn", **KEYS, channels="both"), "textcnn", tmp_path)
    write_tensors(network_tensors(network), tmp_path / "model.safetensors")
    assert torch.equal(load_network(tmp_path)(IDS, VALID), network(IDS, VALID))


def test_vectors_of_labels_are_cut_back_while_it_is_trained():
    network = make(max_norm=0.5)
    with torch.no_grad():
        network.head.weight[0] = 3.0
        network.head.weight[1] = 0.01
    before = network.head.weight.clone()
    network(IDS, VALID)
    assert torch.equal(network.head.weight, before)
    network.train()(IDS, VALID).sum().backward()
    norms = network.head.weight.norm(dim=1)
    torch.testing.assert_close(norms[0].item(), 0.5)
    assert torch.equal(network.head.weight[1], before[1])
    assert type(make(max_norm=None).head) is nn.Linear


def test_it_learns_an_order_of_words_wherever_it_stands():
    """5 before 6 is one label, 6 before 5 the other: a bag of words cannot tell."""
    network = make(widths=[2], n_filters=8, n_labels=2, dropout=0.1).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    random = torch.Generator().manual_seed(0)
    for _ in range(150):
        ids = torch.randint(10, 30, (32, 9), generator=random)
        labels = torch.randint(2, (32,), generator=random)
        places = torch.randint(8, (32,), generator=random)
        ids[torch.arange(32), places] = 5 + labels
        ids[torch.arange(32), places + 1] = 6 - labels
        loss = F.cross_entropy(network(ids), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = network.eval()(ids).argmax(1) == labels
    assert right.float().mean() > 0.95
