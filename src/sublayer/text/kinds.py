"""The six kinds of vocabulary: how each cuts text, learns its pieces and joins them again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sublayer.config.schema import TokenizerKind
from sublayer.text.special import TOKENS

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())

# GPT-2's rule without its list of English endings: a piece never crosses between letters, digits,
# punctuation and white space, and takes along the space before it. Marks belong to their letters
# (as in Hindi), and a short ending stays with its apostrophe ("'s"). Every space begins a piece, so
# that text can be encoded word by word; a run is cut at 64 characters, as learning takes time
# quadratic in its length.
WORD = Regex(
    r"'\p{L}{1,2}(?!\p{L})| ?[\p{L}\p{M}]{1,64}| ?\p{N}{1,64}| ?[^\s\p{L}\p{M}\p{N}]{1,64}"
    r"| [^\S ]{0,64}|[^\S ]{1,64}"
)

# A word spelt like a special token is cut in two, so that looking it up cannot give the special id.
SPELT_LIKE_SPECIAL = Regex("^<(?=(?:" + "|".join(token[1:] for token in TOKENS) + ")$)")

WORD_START = "▁"

WORD_BEGIN, WORD_END = "Ġ", "Ċ"
"""The bytes of a space and of a line's end as `BYTES` writes them: no word has them inside."""


def learn(kind: TokenizerKind, vocab_size: int, lowercase: bool, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of `kind`, of at most `vocab_size` pieces from `texts`, the special ones first.

    Raises:
        ValueError: `vocab_size` has no room for the 256 bytes of `bpe`, `unigram` and `letters`.
    """
    least = len(BYTES) + len(TOKENS)
    if kind in {"bpe", "unigram", "letters"} and vocab_size < least:
        raise ValueError(
            f"a '{kind}' tokenizer holds every byte: "
            f"set its vocab_size to {least} or more, not {vocab_size}"
        )
    return _LEARN[kind](vocab_size, [normalizers.Lowercase()] if lowercase else [], texts)


def _characters(
    vocab_size: int, before: list[normalizers.Normalizer], texts: Iterable[str]
) -> Tokenizer:
    """Every Unicode character is a piece, the space too."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=TOKENS[3]))
    tokenizer.normalizer = normalizers.Sequence(before)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _most_frequent(tokenizer, vocab_size, texts)


def _words(
    vocab_size: int, before: list[normalizers.Normalizer], texts: Iterable[str]
) -> Tokenizer:
    """Pieces are what stands between white space; decoding joins them with one space."""
    tokenizer = _between_spaces(models.WordLevel(unk_token=TOKENS[3]), before)
    return _most_frequent(tokenizer, vocab_size, texts)


def of_words(words: Iterable[str], *, lowercase: bool) -> Tokenizer:
    """A tokenizer of kind `words` that has these in their order, the special ones first."""
    vocabulary = {piece: id for id, piece in enumerate(dict.fromkeys([*TOKENS, *words]))}
    before: list[normalizers.Normalizer] = [normalizers.Lowercase()] if lowercase else []
    tokenizer = _between_spaces(models.WordLevel(vocabulary, unk_token=TOKENS[3]), before)
    tokenizer.add_special_tokens(list(TOKENS))
    return tokenizer


def _between_spaces(model: models.Model, before: list[normalizers.Normalizer]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(before)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(SPELT_LIKE_SPECIAL, "isolated")]
    )
    return tokenizer


def _letters(
    vocab_size: int, before: list[normalizers.Normalizer], texts: Iterable[str]
) -> Tokenizer:
    """Pieces are the bytes of words, each word with a space before it; nothing is unknown.

    There is nothing to learn. Decoding joins words with one space.
    """
    vocabulary = {piece: id for id, piece in enumerate([*TOKENS, *BYTES])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=TOKENS[3]))
    tokenizer.add_special_tokens(list(TOKENS))
    tokenizer.normalizer = normalizers.Sequence(before)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
            pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def _most_frequent(tokenizer: Tokenizer, vocab_size: int, texts: Iterable[str]) -> Tokenizer:
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, special_tokens=list(TOKENS), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _byte_level(model: models.Model, before: list[normalizers.Normalizer]) -> Tokenizer:
    """Text as bytes: nothing is unknown, and every text comes back as it was, spaces included.

    A space is put before the text, so that the first word is cut like any other, and taken away in
    decoding.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([*before, normalizers.Prepend(" ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORD, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def _bpe(vocab_size: int, before: list[normalizers.Normalizer], texts: Iterable[str]) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019)."""
    tokenizer = _byte_level(models.BPE(), before)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=BYTES,
        special_tokens=list(TOKENS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(
    vocab_size: int, before: list[normalizers.Normalizer], texts: Iterable[str]
) -> Tokenizer:
    """The unigram language model (Kudo 2018) over bytes."""
    tokenizer = _byte_level(models.Unigram(), before)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        initial_alphabet=BYTES,
        special_tokens=list(TOKENS),
        unk_token=TOKENS[3],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    tokenizer.model = models.Unigram(_without_noise(scores), unk_id=3, byte_fallback=False)
    return tokenizer


def _without_noise(scores: dict[str, float]) -> list[tuple[str, float]]:
    """The same scores for the same texts.

    The trainer adds numbers, and fills in rare bytes, in random order. The first leaves noise far
    below the third decimal. The second gives bytes that are no pieces of their own scores up to
    0.0256 above the worst; here they all have the worst score of a longer piece.
    """
    pieces = {piece: score for piece, score in scores.items() if piece not in TOKENS}
    worst = min(
        (score for piece, score in pieces.items() if len(piece) > 1), default=min(pieces.values())
    )
    settled = {
        piece: round(score if score > worst + 0.03 else worst, 3) for piece, score in pieces.items()
    }
    best_first = sorted(settled.items(), key=lambda item: (-item[1], item[0]))
    return [*((token, 0.0) for token in TOKENS), *best_first]


def _wordpiece(
    vocab_size: int, before: list[normalizers.Normalizer], texts: Iterable[str]
) -> Tokenizer:
    """BERT's pieces (Wu et al. 2016): greedy longest match inside words, `##` marks a continuation.

    The vocabulary is that of byte-pair encoding with marked word starts, as the library's own
    trainer breaks ties at random. Decoding puts a space between words, none before punctuation.
    """
    bert = pre_tokenizers.BertPreTokenizer()
    short = pre_tokenizers.Split(Regex(r"\S{1,64}"), "isolated")
    mark = pre_tokenizers.Metaspace(WORD_START, "always", split=False)
    normalizer = normalizers.Sequence(before)
    marked = Tokenizer(models.BPE())
    marked.normalizer = normalizer
    marked.pre_tokenizer = pre_tokenizers.Sequence([bert, short, mark])
    characters: Counter[str] = Counter()

    def counted() -> Iterator[str]:
        for text in texts:
            characters.update(normalizer.normalize_str(text))
            yield text

    trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=2, show_progress=False)
    marked.train_from_iterator(counted(), trainer)
    ids = marked.get_vocab()
    vocabulary = _wordpiece_vocabulary(characters, sorted(ids, key=ids.__getitem__), vocab_size)

    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=TOKENS[3], max_input_chars_per_word=100)
    )
    tokenizer.add_special_tokens(list(TOKENS))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = bert
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _wordpiece_vocabulary(
    characters: Counter[str], merges: list[str], vocab_size: int
) -> dict[str, int]:
    """The most frequent characters, as start and as continuation, then merges made of them."""
    by_count = sorted((c for c in characters if not c.isspace()), key=lambda c: (-characters[c], c))
    kept = by_count[: (vocab_size - len(TOKENS)) // 2]
    pieces = [*TOKENS, *chain.from_iterable((character, "##" + character) for character in kept)]
    known = {*kept, WORD_START}
    for merge in merges:
        if known.issuperset(merge) and merge != WORD_START:
            pieces.append(merge[1:] if merge[0] == WORD_START else "##" + merge)
    return {piece: id for id, piece in enumerate([*dict.fromkeys(pieces)][:vocab_size])}


_LEARN: dict[
    TokenizerKind, Callable[[int, list[normalizers.Normalizer], Iterable[str]], Tokenizer]
] = {
    "characters": _characters,
    "words": _words,
    "bpe": _bpe,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "letters": _letters,
}
