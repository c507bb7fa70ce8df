"""Listening changes nothing and leaves nothing behind."""

import pytest
import torch

from sublayer.lens import record

SOURCE, TARGET = torch.tensor([[5, 6, 7]]), torch.tensor([[1, 4]])
CROSS = "decoder.blocks.*.cross.layer.attend.weights"


def hooks(network):
    return sum(len(module._forward_hooks) for module in network.modules())


def test_hears_every_match_in_the_order_it_runs(network):
    with record(network, CROSS) as heard:
        network(SOURCE, TARGET)
    assert list(heard) == [f"decoder.blocks.{i}.cross.layer.attend.weights" for i in range(2)]
    for weights in heard.values():
        assert weights.shape == (1, 4, 2, 3)
        assert not weights.requires_grad


def test_hears_the_encoder_and_the_stream(network):
    with record(network, "encoder.blocks.1.*.stream") as heard:
        network(SOURCE, TARGET)
    assert {path: value.shape for path, value in heard.items()} == {
        "encoder.blocks.1.attention.stream": (1, 3, 16),
        "encoder.blocks.1.feedforward.stream": (1, 3, 16),
    }


def test_does_not_change_what_is_computed(network):
    network.eval()
    alone = network(SOURCE, TARGET)
    with record(network, CROSS):
        heard = network(SOURCE, TARGET)
    torch.testing.assert_close(heard, alone)


def test_stops_listening_whatever_happens(network):
    def interrupted():
        with record(network, CROSS):
            assert hooks(network) == 2
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        interrupted()
    assert hooks(network) == 0


def test_keeps_the_last_of_several_runs(network):
    with record(network, CROSS) as heard:
        network(SOURCE, TARGET)
        network(SOURCE, TARGET[:, :1])
    assert {weights.shape[2] for weights in heard.values()} == {1}


def test_a_pattern_that_matches_nothing_is_refused(network):
    wanted = r"no module .* did you mean 'decoder\.blocks\.\*\.cross\.layer\.attend\.weights'"
    with pytest.raises(ValueError, match=wanted), record(network, CROSS.removesuffix("s")):
        pass
