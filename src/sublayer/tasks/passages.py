"""Documents cut into passages of whole sentences, for models that see both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sublayer.text.tokenizer import Tokenizer

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|\n{2,}")
"""Where a sentence ends: after a stop, or at an empty line."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, without those of nothing but white space."""
    return [part for part in SENTENCE.split(text) if part.strip()]


def passages(text: str, tokenizer: Tokenizer, length: int) -> Iterator[tuple[list[int], list[int]]]:
    """Ids of passages of at most `length` tokens, and where in each a new sentence begins.

    Sentences are taken as long as they fit; one that is longer by itself is cut.
    """
    ids: list[int] = []
    begins: list[int] = []
    for sentence in tokenizer.encode_batch(sentences(text)):
        for start in range(0, len(sentence), length):
            part = sentence[start : start + length]
            if ids and len(ids) + len(part) > length:
                yield ids, begins
                ids, begins = [], []
            if ids:
                begins.append(len(ids))
            ids = [*ids, *part]
    if ids:
        yield ids, begins


def wrap(first: Sequence[int], second: Sequence[int] | None, tokenizer: Tokenizer) -> list[int]:
    """A text's ids, or two texts', between the vocabulary's special ones."""
    return tokenizer.frame(first, second)[0]


def parts_of(text: str, signs: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Ids of what stands before, between and after signs, which come in this order.

    Where pieces take along the space before them, spaces round a sign are none of the text's: what
    the sign stands for brings its own.
    """
    parts = []
    for sign in signs:
        before, _, text = text.partition(sign)
        parts.append(before)
    parts.append(text)
    if tokenizer.encode("a b") == tokenizer.encode("a") + tokenizer.encode("b"):
        last = len(parts) - 1
        parts = [
            part.removeprefix(" " if i else "").removesuffix(" " if i < last else "")
            for i, part in enumerate(parts)
        ]
    return tokenizer.encode_batch(parts)


def first_words(text: str, most: int, length: int, tokenizer: Tokenizer) -> list[str]:
    """At most so many words from the beginning of a text, and at most so many tokens."""
    words = text.split()[:most]
    while words and len(tokenizer.encode(" ".join(words))) > length:
        words.pop()
    return words
