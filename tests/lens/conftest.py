import pytest
import torch

from sublayer.config.schema import TokenizerSide
from sublayer.lens import cross_attention
from sublayer.models.base import build
from sublayer.text.tokenizer import Tokenizer, Tokenizers

SOURCE, TARGET = "große Bär", "B EH R"


@pytest.fixture
def tokenizers():
    return Tokenizers(
        Tokenizer.train(TokenizerSide(kind="characters"), [SOURCE, "</script>$x$ <b>"]),
        Tokenizer.train(TokenizerSide(kind="words"), [TARGET, "G R OW S AH"]),
    )


@pytest.fixture
def network(tokenizers):
    torch.manual_seed(0)
    return build(
        "transformer",
        vocab_size=tokenizers.target.vocab_size,
        source_vocab_size=tokenizers.source.vocab_size,
        tied="output",
        d_model=16,
        n_layers=2,
        n_heads=4,
        d_ff=32,
    )


@pytest.fixture
def maps(network, tokenizers):
    return cross_attention(network, tokenizers, SOURCE, TARGET)
