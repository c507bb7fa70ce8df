"""Vectors of words that a model begins with, from a file or another run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sublayer.data.vectors import read_vectors
from sublayer.layers.embedding import TokenEmbedding
from sublayer.models.hub import load_network
from sublayer.models.vectors import WordVectors
from sublayer.tasks import Vocabulary


def word_vectors(source: str) -> tuple[Sequence[str | None], NDArray[np.float32]]:
    """Words and their vectors, `v m`, of a `.vec` file or of a run's vocabulary.

    Raises:
        ValueError: there is no such file or run, or it has no vectors of words.
    """
    folder = Path(source)
    if not folder.is_dir():
        return read_vectors(source)
    network, tokenizers = load_network(folder), Vocabulary.load(folder).tokenizers
    if isinstance(network, WordVectors):
        table = network.table
    else:
        tables = tables_of(network)
        if len(tables) != 1:
            raise ValueError(
                f"model.vectors: {folder} has {len(tables)} tables of words, not one; "
                "give a file of vectors"
            )
        table = tables[0].weight
    assert tokenizers is not None, "a table of words has a vocabulary"
    return tokenizers.source.tokens, table.detach().numpy()


def tables_of(network: nn.Module) -> list[nn.Embedding]:
    """Its tables of tokens, shared ones once."""
    found = [part.table for part in network.modules() if isinstance(part, TokenEmbedding)]
    return list(dict.fromkeys(found))


@torch.no_grad()
def put_vectors(network: nn.Module, vocabulary: Vocabulary, source: str) -> dict[str, int]:
    """Let every table of tokens begin with the vectors of `source`; how many words have one.

    The others get even random numbers of the same variance (Kim 2014, section 4.3).

    Raises:
        ValueError: the vectors are none, of another width, or of no word of the vocabulary.
    """
    tables, tokenizers = tables_of(network), vocabulary.tokenizers
    if not tables or tokenizers is None or not tokenizers.shared:
        raise ValueError(
            "model.vectors is for models with one vocabulary and a table of its tokens; "
            "leave it out"
        )
    words, vectors = word_vectors(source)
    for table in tables:
        if table.embedding_dim != vectors.shape[1]:
            raise ValueError(
                f"model.vectors: {source} has vectors of {vectors.shape[1]} numbers, the model's "
                f"are of {table.embedding_dim}; set model.d_model = {vectors.shape[1]}"
            )
    place = {word: row for row, word in enumerate(words) if word is not None}
    tokens = tokenizers.source.tokens
    found = [(id, place[token]) for id, token in enumerate(tokens) if token in place]
    if not found:
        raise ValueError(
            f"model.vectors: {source} has none of the vocabulary's {len(tokens)} words; "
            "use a tokenizer of words, lower-cased if the vectors are"
        )
    ids, taken = map(list, zip(*found, strict=True))
    known = torch.from_numpy(vectors[taken])
    bound = (3 * known.var(correction=0).item()) ** 0.5
    first = torch.empty_like(tables[0].weight).uniform_(-bound, bound)
    first[ids] = known
    for table in tables:
        table.weight.copy_(first)
    return {"found": len(found), "of": len(tokens)}
