"""Text to ids and back, by a vocabulary learned from the run's own data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from tokenizers import Tokenizer as Pipeline
from tokenizers import decoders

from sublayer.config.files import atomic_write
from sublayer.config.schema import TokenizerSection, TokenizerSide
from sublayer.text.kinds import learn
from sublayer.text.special import MASK, TOKENS, Special, sentinel

SAMPLE = 2**25
"""Characters that vocabularies are learned from; longer texts are thinned evenly to fit."""

REMEMBERED = 2**20
"""Characters of words whose ids are remembered: some tens of megabytes in all."""


@final
class Tokenizer:
    """One vocabulary. Ids 0 to 3 are `Special`; no text is encoded to padding, begin or end.

    `bpe` and `unigram` are made of bytes, so they know and give back any text. `characters` and
    `words` have `<unk>` for what the training data did not have, `wordpiece` for words with such
    characters.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        # Else "</s>" in a text would end the sequence; the file does not keep this setting.
        pipeline.encode_special_tokens = True
        self._pipeline = pipeline
        self.special = Special(mask=pipeline.token_to_id(MASK), sentinels=_sentinels(pipeline))
        # The kind shows in how pieces are joined.
        self._by_character = isinstance(pipeline.decoder, decoders.Fuse)
        self._byte_level = isinstance(pipeline.decoder, decoders.Sequence)
        self._forget()

    @classmethod
    def train(
        cls, side: TokenizerSide, texts: Iterable[str], extra: Sequence[str] = ()
    ) -> Tokenizer:
        """A vocabulary of at most `side.vocab_size` ids, learned from `texts`, and `extra` ones.

        Texts are read once and not kept; the same texts give the same vocabulary. `extra` are
        special tokens beside the four: the mask, sentinels.

        Raises:
            ValueError: there is no text to learn from, or `vocab_size` is too small for the kind.
        """
        texts = iter(texts)
        first = next((text for text in texts if text.strip()), None)
        if first is None:
            raise ValueError(
                "there is no text to train a tokenizer from: look into the training files of [data]"
            )
        pipeline = learn(side.kind, side.vocab_size, side.lowercase, chain([first], texts))
        pipeline.add_special_tokens(list(extra))
        return cls(pipeline)

    @property
    def vocab_size(self) -> int:
        """Number of ids, the special ones included."""
        return self._pipeline.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without begin and end; an empty text has none."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each text, without begin and end.

        Words come again and again, so each goes through the pipeline once and is then looked up,
        which is several times faster; the ids are those that the pipeline gives for the whole text.
        """
        rows = [self._words(text) for text in texts]
        if self._remembered > REMEMBERED:
            self._forget()
        known = self._known
        new = [word for word in dict.fromkeys(chain.from_iterable(rows)) if word not in known]
        encoded = self._pipeline.encode_batch_fast(new, add_special_tokens=False)
        known.update(zip(new, (word.ids for word in encoded), strict=True))
        self._remembered += sum(map(len, new))
        return [list(chain.from_iterable(map(known.__getitem__, row))) for row in rows]

    def _words(self, text: str) -> list[str]:
        if self._by_character:
            return list(text)
        return text.split(" ") if text else []

    def _forget(self) -> None:
        """Remember no words; in a new dictionary, as another thread may be reading the old one."""
        self._known: dict[str, list[int]] = {}
        self._remembered = 0
        if self._byte_level:
            # Between two spaces in a row stands an empty word: its id is that of a space.
            self._known[""] = self._pipeline.encode(" ", add_special_tokens=False).ids[:1]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ids give nothing."""
        return self._pipeline.decode(list(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each id stands for, for people: `▁` is a space, `�` a part of a character."""
        pieces = [piece for id in ids if (piece := self._pipeline.id_to_token(id)) is not None]
        assert len(pieces) == len(ids), (
            f"not all ids are below the vocabulary's size, {self.vocab_size}: {ids}"
        )
        if self._byte_level:
            of_bytes = decoders.ByteLevel()
            pieces = [piece if piece in TOKENS else of_bytes.decode([piece]) for piece in pieces]
        return [piece.replace(" ", "▁") for piece in pieces]

    def save(self, file: str | Path) -> None:
        """Write the tokenizer in the format of Hugging Face's `tokenizer.json`."""
        atomic_write(Path(file), self._pipeline.to_str(pretty=True))

    @classmethod
    def load(cls, file: str | Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing, damaged, or no tokenizer with our special ids.
        """
        if not Path(file).is_file():
            raise ValueError(f"there is no tokenizer {file}: give the folder of a run that has one")
        try:
            pipeline = Pipeline.from_str(Path(file).read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(
                f"{file} is not a tokenizer or is damaged ({error}): copy it again"
            ) from error
        if [pipeline.token_to_id(token) for token in TOKENS] != [0, 1, 2, 3]:
            raise ValueError(
                f"{file} does not have {' '.join(TOKENS)} as ids 0 to 3: "
                "use a tokenizer trained here"
            )
        return cls(pipeline)


@runtime_checkable
class SourceAndTargets(Protocol):
    """A text and what is to be made of it, in one or more right ways."""

    @property
    def source(self) -> str:
        """The text that is read."""

    @property
    def targets(self) -> Sequence[str]:
        """The texts that are written."""


@final
@dataclass(frozen=True)
class Tokenizers:
    """The vocabularies of the two sides, which may be one and the same."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether both sides have one vocabulary."""
        return self.source is self.target

    @classmethod
    def train(
        cls,
        section: TokenizerSection,
        pairs: Iterable[SourceAndTargets],
        extra: Sequence[str] = (),
    ) -> Tokenizers:
        """What the recipe's `[tokenizer]` asks for; an even sample of `pairs` is read, once.

        `extra` are special tokens that the vocabularies have beside the four.

        Raises:
            ValueError: there is no text to learn from, or a `vocab_size` is too small for its kind.
        """
        sample = thinned(pairs, SAMPLE)
        sources = (pair.source for pair in sample)
        targets = (text for pair in sample for text in pair.targets)
        if section.shared is not None:
            both = Tokenizer.train(section.shared, chain(sources, targets), extra)
            return cls(both, both)
        assert section.source is not None
        assert section.target is not None
        return cls(
            Tokenizer.train(section.source, sources, extra),
            Tokenizer.train(section.target, targets, extra),
        )

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, or `tokenizer_source.json` and then `tokenizer_target.json`."""
        if self.shared:
            self.source.save(Path(folder, "tokenizer.json"))
        else:
            self.source.save(Path(folder, "tokenizer_source.json"))
            self.target.save(Path(folder, "tokenizer_target.json"))

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizers:
        """Read what `save` wrote.

        Raises:
            ValueError: a file is missing or damaged.
        """
        source, target = (
            Path(folder, "tokenizer_source.json"),
            Path(folder, "tokenizer_target.json"),
        )
        if source.exists() or target.exists():
            return cls(Tokenizer.load(source), Tokenizer.load(target))
        both = Tokenizer.load(Path(folder, "tokenizer.json"))
        return cls(both, both)


def _sentinels(pipeline: Pipeline) -> tuple[int, ...]:
    found: list[int] = []
    while (id := pipeline.token_to_id(sentinel(len(found)))) is not None:
        found.append(id)
    return tuple(found)


def thinned(pairs: Iterable[SourceAndTargets], characters: int) -> list[SourceAndTargets]:
    """Pairs of at most `characters` in all, spread evenly: every one, every 2nd, 4th, 8th, ..."""
    kept: list[SourceAndTargets] = []
    step = size = 0
    for number, pair in enumerate(pairs):
        if number % 2**step == 0:
            kept.append(pair)
            size += _size(pair)
            while size > characters and len(kept) > 1:
                kept, step = kept[::2], step + 1
                size = sum(map(_size, kept))
    return kept


def _size(pair: SourceAndTargets) -> int:
    return len(pair.source) + sum(map(len, pair.targets))
