"""Vectors of words from a file, or another run: what a model begins with, or all of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sublayer.config.data import TextData
from sublayer.config.files import atomic_folder, write_recipe
from sublayer.config.objective import WordsObjective
from sublayer.config.schema import (
    ModelSection,
    Recipe,
    TokenizerSection,
    TokenizerSide,
    Training,
)
from sublayer.data.vectors import read_vectors
from sublayer.layers.embedding import TokenEmbedding
from sublayer.models.base import configure
from sublayer.models.hub import load_network, network_tensors, write_config, write_tensors
from sublayer.models.vectors import WordVectors
from sublayer.tasks import Vocabulary
from sublayer.tasks.neighbours import as_word_vectors
from sublayer.text.special import TOKENS
from sublayer.text.tokenizer import Tokenizer, Tokenizers
from sublayer.training.run import Run


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


def words_of_file(source: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Words and vectors of a `.vec` file, but those that are spelt like special tokens.

    Raises:
        ValueError: as `read_vectors`, or no word is left.
    """
    words, vectors = read_vectors(source)
    kept = [row for row, word in enumerate(words) if word not in TOKENS]
    if not kept:
        raise ValueError(f"{source} has no words: give a file of word vectors")
    return [words[row] for row in kept], vectors[kept]


def make_run(source: Path, target: Path) -> WordVectors:
    """Make a run without data of a `.vec` file: word2vec, whose output is that before training.

    Inputs are lower-cased if all words are.

    Raises:
        ValueError: as `words_of_file`.
    """
    words, vectors = words_of_file(source)
    lowercase = all(word == word.lower() for word in words)
    both = Tokenizer.of_words(words, lowercase=lowercase)
    side = TokenizerSide(kind="words", vocab_size=max(both.vocab_size, 8), lowercase=lowercase)
    width = vectors.shape[1]
    recipe = Recipe(
        data=TextData(kind="text", train=[]),
        tokenizer=TokenizerSection(shared=side),
        model=ModelSection.model_validate({"family": "word2vec", "d_model": width}),
        objective=WordsObjective(kind="words"),
        training=Training(steps=1),
    )
    config = configure("word2vec", d_model=width, vocab_size=both.vocab_size)
    network = as_word_vectors(config.build())
    with torch.no_grad():
        network.input.table.weight[: len(TOKENS)] = 0.0
        network.input.table.weight[len(TOKENS) :] = torch.from_numpy(vectors)
    with atomic_folder(target) as folder:
        write_recipe(recipe, Run(folder).recipe)
        write_config(config, "word2vec", folder)
        Vocabulary(Tokenizers(both, both)).save(folder)
        write_tensors(network_tensors(network), Run(folder).weights)
    return network


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
