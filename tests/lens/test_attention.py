"""The maps are the weights the decoder really used, with the right pieces on their axes."""

import pytest
import torch

from sublayer.lens import cross_attention, record
from sublayer.models.base import build


def test_axes_end_with_the_end_of_sequence(maps):
    assert maps.source_pieces == [*"große▁Bär", "</s>"]
    assert maps.target_pieces == ["B", "EH", "R", "</s>"]
    assert maps.weights.shape == (2, 4, 4, 10)


def test_each_output_piece_spreads_all_its_attention(maps):
    torch.testing.assert_close(maps.weights.sum(-1), torch.ones(2, 4, 4))


def test_rows_are_those_of_decoding_step_by_step(network, tokenizers, maps):
    network.eval()
    memory = network.encode(torch.tensor([[*tokenizers.source.encode(maps.source), 2]]))
    written = [1]
    for row, wanted in enumerate([*tokenizers.target.encode(maps.target), 2]):
        with record(network, "decoder.blocks.*.cross.layer.attend.weights") as heard:
            network.decode(torch.tensor([written]), memory)
        last = torch.stack([weights[0, :, -1] for weights in heard.values()])
        torch.testing.assert_close(maps.weights[:, :, row], last)
        written.append(wanted)


def test_dropout_is_off_and_on_again(network, tokenizers, maps):
    network.train()
    again = cross_attention(network, tokenizers, maps.source, maps.target)
    assert network.training
    assert torch.equal(again.weights, maps.weights)


def test_empty_texts_leave_only_the_end(network, tokenizers):
    maps = cross_attention(network, tokenizers, "", "")
    assert (maps.source_pieces, maps.target_pieces) == (["</s>"], ["</s>"])
    torch.testing.assert_close(maps.weights, torch.ones(2, 4, 1, 1))


@pytest.mark.parametrize("vector", ["start", "every_step"])
def test_a_decoder_that_looks_nowhere(tokenizers, vector):
    network = build(
        "rnn_seq2seq",
        vocab_size=tokenizers.target.vocab_size,
        source_vocab_size=tokenizers.source.vocab_size,
        tied="output",
        d_model=8,
        attention="none",
        vector=vector,
    )
    with pytest.raises(ValueError, match="this model has no attention to draw: its decoder is giv"):
        cross_attention(network, tokenizers, "B", "B")
