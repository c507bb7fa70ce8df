"""Text to ids and back, by a vocabulary learned from the run's own data, or one made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from tokenizers import Tokenizer as Pipeline

from sublayer.config.files import atomic_write, dump_json, load_json
from sublayer.config.schema import TokenizerSection, TokenizerSide
from sublayer.text.codec import Codec, ForeignCodec, LearnedCodec
from sublayer.text.kinds import WORD_BEGIN, WORD_END, learn, of_words
from sublayer.text.sentencepiece import SentencePieceCodec
from sublayer.text.special import MASK, TOKENS, Framing, Special, Spelling, sentinel

SAMPLE = 2**25
"""Characters that vocabularies are learned from; longer texts are thinned evenly to fit."""


@final
class Tokenizer:
    """One vocabulary, its special ids, and how they stand round texts.

    One that is learned here has ids 0 to 3 as `Special`, and no text is encoded to padding, begin
    or end. Its `bpe` and `unigram` are made of bytes, so they know and give back any text, and
    `letters` any words; `characters` and `words` have `<unk>` for what the training data did not
    have, `wordpiece` for words with such characters. Others are as they were made:
    `huggingface.py` reads them.
    """

    def __init__(self, codec: Codec, special: Special, framing: Framing | None = None) -> None:
        self.codec, self.special = codec, special
        self.framing = Framing.of(special) if framing is None else framing

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
        tokenizer = cls(LearnedCodec(pipeline), Special())
        tokenizer.add(extra)
        return tokenizer

    @classmethod
    def of_words(cls, words: Iterable[str], *, lowercase: bool) -> Tokenizer:
        """A vocabulary of kind `words` that has these in their order, behind the special ids."""
        return cls(LearnedCodec(of_words(words, lowercase=lowercase)), Special())

    def add(self, extra: Sequence[str]) -> None:
        """Special tokens behind the others; what there is one for already is left out.

        Raises:
            ValueError: the vocabulary can be given none.
        """
        wanted = [token for token in extra if token != MASK or self.special.mask is None]
        self.codec.add(wanted)
        mask = self.codec.id_of(MASK) if self.special.mask is None else self.special.mask
        self.special = replace(self.special, mask=mask, sentinels=sentinels_of(self.codec))

    @property
    def vocab_size(self) -> int:
        """Number of ids, the special ones included."""
        return self.codec.size

    @property
    def tokens(self) -> list[str | None]:
        """How each id is written in the vocabulary, from 0 on; None where it is none."""
        return [self.codec.token(id) for id in range(self.vocab_size)]

    @property
    def spelling(self) -> Spelling | None:
        """What stands round the letters of words, where these are its pieces."""
        if not self.codec.spells:
            return None
        begin, end = self.codec.id_of(WORD_BEGIN), self.codec.id_of(WORD_END)
        assert begin is not None, "every byte is a piece"
        assert end is not None, "every byte is a piece"
        return Spelling((begin, self.special.bos, self.special.eos), end)

    @property
    def opening(self) -> list[int]:
        """The ids before a text."""
        return list(self.framing.one[0])

    def frame(
        self, first: Sequence[int], second: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """The ids of a text, or two, between special ones, and the segment of each."""
        return self.framing.frame(first, second)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without begin and end; an empty text has none."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each text, without begin and end."""
        return self.codec.encode_batch(list(texts))

    def encode_words(self, words: Iterable[str]) -> list[list[int]]:
        """Ids of each word of a text that comes in words."""
        return self.codec.encode_words(list(words))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` the piece of each id of `encode` begins and ends, in characters."""
        return self.codec.offsets(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ids give nothing."""
        return self.codec.decode(ids)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each id stands for, for people: `▁` is a space, `�` a part of a character."""
        pieces = [piece for id in ids if (piece := self.codec.piece(id)) is not None]
        assert len(pieces) == len(ids), (
            f"not all ids are below the vocabulary's size, {self.vocab_size}: {ids}"
        )
        return [piece.replace(" ", "▁") for piece in pieces]

    def save(self, file: str | Path) -> None:
        """Write the tokenizer in the format of Hugging Face's `tokenizer.json`.

        Of one made elsewhere, its special ids come first, in a file beside it.
        """
        file = Path(file)
        if not isinstance(self.codec, LearnedCodec):
            keys = {"special": asdict(self.special), "framing": asdict(self.framing)}
            cleans = isinstance(self.codec, ForeignCodec) and self.codec.cleans
            dump_json(keys | {"cleans": cleans}, _beside(file))
        atomic_write(file, self.codec.as_json())

    @classmethod
    def load(cls, file: str | Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing, damaged, or of other special ids.
        """
        file = Path(file)
        if _beside(file).exists():
            return cls._load_foreign(file, load_json(_beside(file)))
        pipeline = read_pipeline(file)
        if [pipeline.token_to_id(token) for token in TOKENS] != [0, 1, 2, 3]:
            raise ValueError(
                f"{file} does not have {' '.join(TOKENS)} as ids 0 to 3: "
                "use a tokenizer trained here"
            )
        codec = LearnedCodec(pipeline)
        return cls(codec, Special(mask=codec.id_of(MASK), sentinels=sentinels_of(codec)))

    @classmethod
    def _load_foreign(cls, file: Path, keys: Mapping[str, Any]) -> Tokenizer:
        special = Special(**keys["special"] | {"sentinels": tuple(keys["special"]["sentinels"])})
        one, two = keys["framing"]["one"], keys["framing"]["two"]
        framing = Framing(
            (tuple(one[0]), tuple(one[1])),
            (tuple(two[0]), tuple(two[1]), tuple(two[2])),
            keys["framing"]["second"],
        )
        content = load_json(file)
        codec: Codec
        if "sentencepiece" in content:
            codec = SentencePieceCodec.from_json(content)
        else:
            codec = ForeignCodec(read_pipeline(file), cleans=keys["cleans"])
        return cls(codec, special, framing)


def read_pipeline(file: Path) -> Pipeline:
    """A `tokenizer.json`.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if not Path(file).is_file():
        raise ValueError(f"there is no tokenizer {file}: give the folder of a run that has one")
    try:
        pipeline = Pipeline.from_str(Path(file).read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(
            f"{file} is not a tokenizer or is damaged ({error}): copy it again"
        ) from error
    return pipeline


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.stem}_special.json")


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

    def with_extra(self, extra: Sequence[str]) -> Tokenizers:
        """The same with special tokens added where they are missing; ids there are keep theirs."""
        for side in {self.source, self.target}:
            side.add(extra)
        return self

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


def sentinels_of(codec: Codec) -> tuple[int, ...]:
    """The ids of all sentinels, from the first on."""
    found: list[int] = []
    while (id := codec.id_of(sentinel(len(found)))) is not None:
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
