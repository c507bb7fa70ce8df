"""What a tokenizer does its work with: text cut into ids, ids joined into text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import final

from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as Pipeline

from sublayer.text.kinds import WORD_BEGIN
from sublayer.text.special import TOKENS

REMEMBERED = 2**20
"""Characters of words whose ids are remembered: some tens of megabytes in all."""


class Codec(ABC):
    """Abstract. One vocabulary, without a say in what its special ids are for."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids."""

    @property
    def spells(self) -> bool:
        """Whether its pieces are the letters of words."""
        return False

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text alone."""

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of each word, as it stands behind another."""
        return self.encode_batch(words)

    @abstractmethod
    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` the piece of each id begins and ends, in characters."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ids give nothing."""

    @abstractmethod
    def piece(self, id: int) -> str | None:
        """What an id stands for, for people; None if it is none."""

    @abstractmethod
    def id_of(self, token: str) -> int | None:
        """The id of a token as it is written in the vocabulary."""

    @abstractmethod
    def token(self, id: int) -> str | None:
        """How an id is written in the vocabulary; None if it is none."""

    @abstractmethod
    def add(self, tokens: Sequence[str]) -> None:
        """Special tokens behind the others, those that are there already left out."""

    @abstractmethod
    def as_json(self) -> str:
        """All of it, to be read again."""


class OverPipeline(Codec):
    """Abstract. A vocabulary of the package tokenizers."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.pipeline.get_vocab_size()

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` the piece of each id begins and ends, in characters."""
        spans: list[tuple[int, int]] = self.pipeline.encode(text, add_special_tokens=False).offsets
        return spans

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ids give nothing."""
        return self.pipeline.decode(list(ids))

    def id_of(self, token: str) -> int | None:
        """The id of a token."""
        return self.pipeline.token_to_id(token)

    def token(self, id: int) -> str | None:
        """How an id is written in the vocabulary."""
        return self.pipeline.id_to_token(id)

    def add(self, tokens: Sequence[str]) -> None:
        """Special tokens behind the others."""
        self.pipeline.add_special_tokens(list(tokens))

    def as_json(self) -> str:
        """Hugging Face's `tokenizer.json`."""
        return self.pipeline.to_str(pretty=True)


@final
class LearnedCodec(OverPipeline):
    """A vocabulary that was learned here (`kinds.py`): no text is encoded to a special id.

    Words come again and again, so each goes through the pipeline once and is then looked up, which
    is several times faster; the ids are those that the pipeline gives for the whole text.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        # Else "</s>" in a text would end the sequence; the file does not keep this setting.
        pipeline.encode_special_tokens = True
        super().__init__(pipeline)
        # The kind shows in how pieces are joined.
        self._by_character = isinstance(pipeline.decoder, decoders.Fuse)
        self._byte_level = isinstance(pipeline.decoder, decoders.Sequence)
        self._spells = self._byte_level and isinstance(pipeline.model, models.WordLevel)
        self._forget()

    @property
    def spells(self) -> bool:
        """Whether its pieces are the letters of words."""
        return self._spells

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text alone."""
        rows = [self._words(text) for text in texts]
        if self._remembered > REMEMBERED:
            self._forget()
        known = self._known
        new = [word for word in dict.fromkeys(chain.from_iterable(rows)) if word not in known]
        encoded = self.pipeline.encode_batch_fast(new, add_special_tokens=False)
        known.update(zip(new, (word.ids for word in encoded), strict=True))
        self._remembered += sum(map(len, new))
        return [list(chain.from_iterable(map(known.__getitem__, row))) for row in rows]

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of each word; one in letters is one word, whatever white space stands in it."""
        if not self._spells:
            return self.encode_batch(words)
        begin = self.pipeline.token_to_id(WORD_BEGIN)
        assert begin is not None, "every byte is a piece"
        return [ids or [begin] for ids in self.encode_batch(["".join(w.split()) for w in words])]

    def add(self, tokens: Sequence[str]) -> None:
        """Special tokens behind the others.

        One in a text swallows the spaces round it, which belong to the pieces of bytes beside it;
        where characters are pieces, spaces are pieces of their own.
        """
        swallows = not self._by_character
        self.pipeline.add_special_tokens(
            [AddedToken(t, lstrip=swallows, rstrip=swallows, special=True) for t in tokens]
        )

    def _words(self, text: str) -> list[str]:
        if self._by_character:
            return list(text)
        return text.split(" ") if text else []

    def _forget(self) -> None:
        """Remember no words; in a new dictionary, as another thread may be reading the old one."""
        self._known: dict[str, list[int]] = {}
        self._remembered = 0
        if self._byte_level and not self._spells:
            # Between two spaces in a row stands an empty word: its id is that of a space.
            self._known[""] = self.pipeline.encode(" ", add_special_tokens=False).ids[:1]

    def piece(self, id: int) -> str | None:
        """What an id stands for, for people."""
        token = self.pipeline.id_to_token(id)
        if token is None or token in TOKENS or not self._byte_level:
            return token
        return decoders.ByteLevel().decode([token])


CLEANED = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
)
"""Spaces that transformers takes out where a tokenizer says `clean_up_tokenization_spaces`."""


@final
class ForeignCodec(OverPipeline):
    """A `tokenizer.json` made elsewhere, used as it is: special tokens in a text are read as such.

    `cleans` says that English punctuation is put to its word in decoding.
    """

    def __init__(self, pipeline: Pipeline, *, cleans: bool = False) -> None:
        pipeline.no_truncation()
        pipeline.no_padding()
        super().__init__(pipeline)
        self.cleans = cleans
        decoder, self._added = pipeline.decoder, pipeline.get_added_tokens_decoder()
        self._byte_level = decoder is not None and b"ByteLevel" in decoder.__getstate__()

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ids give nothing."""
        text = self.pipeline.decode(list(ids))
        for spaced, together in CLEANED if self.cleans else ():
            text = text.replace(spaced, together)
        return text

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text alone."""
        encoded = self.pipeline.encode_batch_fast(list(texts), add_special_tokens=False)
        return [text.ids for text in encoded]

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of each word, with the space before it where pieces of bytes have it in them."""
        return self.encode_batch([f" {word}" if self._byte_level else word for word in words])

    def piece(self, id: int) -> str | None:
        """What an id stands for, for people."""
        token = self.pipeline.id_to_token(id)
        if token is None or id in self._added or not self._byte_level:
            return token
        return decoders.ByteLevel().decode([token])
