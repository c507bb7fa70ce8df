"""Text to ids and back."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sublayer.config.schema import TokenizerSection, TokenizerSide
from sublayer.data.pair import Pair
from sublayer.text.special import TOKENS, Special
from sublayer.text.tokenizer import Tokenizer, Tokenizers, thinned

TEXTS = [
    "Two young men are outside near many bushes.",
    "Zwei junge weiße Männer sind im Freien, in der Nähe vieler Büsche.",
    "Several men don't climb; 12 girls do, l'homme aussi.",
    "Mehrere Männer klettern nicht.  Zwei Räume, <s> und </s> und <pad>!",
]
KINDS = ["characters", "words", "bpe", "wordpiece", "unigram", "letters"]
SPECIAL = Special()


def trained(kind: str, *, vocab_size: int = 400, lowercase: bool = False) -> Tokenizer:
    return Tokenizer.train(
        TokenizerSide(kind=kind, vocab_size=vocab_size, lowercase=lowercase), iter(TEXTS * 3)
    )


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {kind: trained(kind) for kind in KINDS}


every_kind = pytest.mark.parametrize("kind", KINDS)
any_text = st.text(st.characters(exclude_categories=["Cs"]))
spaced = st.text(" \tab<s>/'é日\u0301.\n1")


@every_kind
def test_vocabulary_is_bounded_and_begins_with_the_special_tokens(tokenizers, kind):
    tokenizer = tokenizers[kind]
    assert len(TOKENS) < tokenizer.vocab_size <= 400
    assert tokenizer.pieces([SPECIAL.pad, SPECIAL.bos, SPECIAL.eos, SPECIAL.unk]) == list(TOKENS)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@given(text=any_text | spaced)
@example(text="")
@example(text=" ")
@example(text="  two  spaces  ")
@example(text="▁ and Ġ are no spaces\u2028\x85\0")
def test_bytes_give_back_any_text(tokenizers, kind, text):
    ids = tokenizers[kind].encode(text)
    assert tokenizers[kind].decode(ids) == text
    assert not {*ids} & {0, 1, 2, 3}


@given(text=st.text(sorted({*"".join(TEXTS)})))
def test_characters_give_back_text_of_known_characters(tokenizers, text):
    ids = tokenizers["characters"].encode(text)
    assert len(ids) == len(text)
    assert tokenizers["characters"].decode(ids) == text


@given(words=st.lists(st.sampled_from(TEXTS[0].split())))
def test_words_are_joined_with_one_space(tokenizers, words):
    assert tokenizers["words"].decode(tokenizers["words"].encode("\t ".join(words))) == " ".join(
        words
    )


@given(
    # which Python takes for white space, and Unicode does not
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1c\x1d\x1e\x1f"))
)
def test_letters_are_the_bytes_of_each_word_behind_a_space(tokenizers, text):
    tokenizer = tokenizers["letters"]
    words, ids = text.split(), tokenizer.encode(text)
    assert tokenizer.decode(ids) == " ".join(words)
    assert len(ids) == sum(1 + len(word.encode()) for word in words)
    begin = tokenizer.spelling.begins[0]
    places = [i for i, id in enumerate(ids) if id == begin]
    assert places == [sum(1 + len(w.encode()) for w in words[:n]) for n in range(len(words))]
    assert not {*ids} & {0, 1, 2, 3, tokenizer.spelling.end}
    assert tokenizer.encode_words(words) == [tokenizer.encode(word) for word in words]


def test_a_word_in_letters_is_one(tokenizers):
    tokenizer = tokenizers["letters"]
    (begin, *_), (whole,) = tokenizer.spelling.begins, tokenizer.encode_words(["1000"])
    assert tokenizer.encode_words(["1 000", "", "1\u00a0000"]) == [whole, [begin], whole]


def test_only_letters_are_spelled(tokenizers):
    assert [kind for kind in KINDS if tokenizers[kind].spelling is not None] == ["letters"]


def test_wordpiece_normalises_spaces_only(tokenizers):
    ids = tokenizers["wordpiece"].encode("  Several   men climb.\n")
    assert tokenizers["wordpiece"].decode(ids) == "Several men climb."


@every_kind
@given(texts=st.lists(any_text | spaced, max_size=4))
def test_batch_is_what_the_pipeline_gives_for_each_text(tokenizers, kind, texts):
    whole = tokenizers[kind].codec.pipeline.encode_batch(texts, add_special_tokens=False)
    assert tokenizers[kind].encode_batch(texts) == [text.ids for text in whole]


@every_kind
@given(text=st.lists(st.sampled_from([*TOKENS, " ", "a", "\n"])).map("".join))
@example(text="</s>")
@example(text="a <pad>\t<s> </s>")
def test_no_text_becomes_padding_begin_or_end(tokenizers, kind, text):
    assert not {*tokenizers[kind].encode(text)} & {SPECIAL.pad, SPECIAL.bos, SPECIAL.eos}


@every_kind
def test_special_ids_decode_to_nothing(tokenizers, kind):
    ids = tokenizers[kind].encode("men are")
    assert tokenizers[kind].decode([1, *ids, 2, 0, 0]) == "men are"
    assert tokenizers[kind].decode([]) == ""


@every_kind
def test_lowercase(kind):
    tokenizer = trained(kind, lowercase=True)
    assert tokenizer.encode("SEVERAL Men") == tokenizer.encode("several men")
    assert tokenizer.decode(tokenizer.encode("SEVERAL Men")) == "several men"


def test_pieces_are_readable(tokenizers):
    def pieces(kind: str, text: str) -> list[str]:
        return tokenizers[kind].pieces(tokenizers[kind].encode(text))

    assert pieces("characters", "ä b") == ["ä", "▁", "b"]
    assert pieces("words", "Two unheard-of bushes.") == ["Two", "<unk>", "bushes."]
    assert "".join(pieces("bpe", "Büsche  Männer")) == "▁Büsche▁▁Männer"
    assert pieces("unigram", "日")[-3:] == ["�", "�", "�"]
    assert "".join(pieces("wordpiece", "menmen")).replace("##", "") == "menmen"


TRAIN_AND_SAVE = """
import json, sys
from sublayer.config.schema import TokenizerSide
from sublayer.text.tokenizer import Tokenizer
kinds, texts, folder = json.loads(sys.argv[1])
for kind in kinds:
    Tokenizer.train(TokenizerSide(kind=kind, vocab_size=400), texts).save(f"{folder}/{kind}.json")
"""


def test_the_same_texts_give_the_same_vocabulary_in_another_process(tokenizers, tmp_path):
    argument = json.dumps([KINDS, TEXTS * 3, str(tmp_path)])
    subprocess.run([sys.executable, "-c", TRAIN_AND_SAVE, argument], check=True)
    for kind in KINDS:
        tokenizers[kind].save(tmp_path / "here.json")
        assert (tmp_path / "here.json").read_bytes() == (tmp_path / f"{kind}.json").read_bytes()


@every_kind
def test_saved_and_loaded(tokenizers, kind, tmp_path):
    tokenizers[kind].save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    text = "Zwei  </s> Männer 日"
    assert loaded.encode(text) == tokenizers[kind].encode(text)
    assert loaded.decode(loaded.encode("men are")) == "men are"
    assert loaded.vocab_size == tokenizers[kind].vocab_size


def test_forgets_words_and_goes_on(tokenizers, monkeypatch):
    tokenizer = tokenizers["bpe"]
    expected = tokenizer.encode_batch(TEXTS)
    monkeypatch.setattr("sublayer.text.codec.REMEMBERED", 10)
    assert [tokenizer.encode_batch(TEXTS) for _ in range(3)] == [expected] * 3
    assert len(tokenizer.codec._known) < 100


@every_kind
def test_one_very_long_word(kind):
    text = "ab" * 50_000
    tokenizer = Tokenizer.train(TokenizerSide(kind=kind, vocab_size=300), [text])
    assert {*tokenizer.encode(text)} - {0, 1, 2}


@pytest.mark.parametrize("kind", ["characters", "words", "wordpiece"])
def test_tiny_vocabulary_knows_what_is_most_frequent(kind):
    tokenizer = Tokenizer.train(TokenizerSide(kind=kind, vocab_size=8), ["a a a b b c c d e f"])
    assert tokenizer.vocab_size <= 8
    assert SPECIAL.unk not in tokenizer.encode("a")
    assert tokenizer.encode("f") == [SPECIAL.unk]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "letters"])
def test_no_room_for_the_bytes(kind):
    with pytest.raises(
        ValueError,
        match=f"a '{kind}' tokenizer holds every byte: set its vocab_size to 260 or more",
    ):
        Tokenizer.train(TokenizerSide(kind=kind, vocab_size=259), TEXTS)


@pytest.mark.parametrize("texts", [[], ["", " \n"]])
def test_nothing_to_learn_from(texts):
    with pytest.raises(
        ValueError, match="there is no text to train a tokenizer from: look into the training files"
    ):
        Tokenizer.train(TokenizerSide(kind="bpe"), texts)


def test_missing_file(tmp_path):
    with pytest.raises(
        ValueError, match=r"there is no tokenizer .*tokenizer\.json: give the folder of a run"
    ):
        Tokenizers.load(tmp_path)


def test_damaged_file(tokenizers, tmp_path):
    file = tmp_path / "tokenizer.json"
    tokenizers["words"].save(file)
    for content in (file.read_bytes()[:-100], b"", b"\xff\xfe", b"{}"):
        file.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"tokenizer\.json is not a tokenizer or is damaged .*: copy it again"
        ):
            Tokenizer.load(file)


def test_foreign_tokenizer(tokenizers, tmp_path):
    file = tmp_path / "tokenizer.json"
    tokenizers["words"].save(file)
    file.write_text(file.read_text(encoding="utf-8").replace("</s>", "[SEP]"), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"does not have <pad> <s> </s> <unk> as ids 0 to 3: use a tokenizer"
    ):
        Tokenizer.load(file)


PAIRS = [Pair("ab", ("A B",)), Pair("ba", ("B A", "B B"))]


def test_shared_tokenizer_in_one_file(tmp_path):
    section = TokenizerSection(shared=TokenizerSide(kind="characters"))
    both = Tokenizers.train(section, PAIRS)
    assert both.shared
    both.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    loaded = Tokenizers.load(tmp_path)
    assert loaded.shared
    assert loaded.source.encode("aB ") == both.target.encode("aB ")


def test_separate_tokenizers_in_two_files(tmp_path):
    section = TokenizerSection(
        source=TokenizerSide(kind="characters"), target=TokenizerSide(kind="words")
    )
    tokenizers = Tokenizers.train(section, iter(PAIRS))
    assert not tokenizers.shared
    tokenizers.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "tokenizer_source.json",
        "tokenizer_target.json",
    ]
    loaded = Tokenizers.load(tmp_path)
    assert loaded.source.pieces(loaded.source.encode("ab")) == ["a", "b"]
    assert loaded.target.decode(loaded.target.encode("B  A")) == "B A"


def test_one_of_two_files_missing(tmp_path):
    section = TokenizerSection(
        source=TokenizerSide(kind="characters"), target=TokenizerSide(kind="words")
    )
    Tokenizers.train(section, PAIRS).save(tmp_path)
    (tmp_path / "tokenizer_target.json").unlink()
    with pytest.raises(ValueError, match=r"there is no tokenizer .*tokenizer_target\.json"):
        Tokenizers.load(tmp_path)


@given(sizes=st.lists(st.integers(0, 20), max_size=60), characters=st.integers(1, 200))
def test_thinning_is_even_and_bounded(sizes, characters):
    pairs = [Pair("x" * size, (str(number % 10),)) for number, size in enumerate(sizes)]
    kept = thinned(pairs, characters)
    assert any(kept == pairs[:: 2**step] for step in range(8))
    assert len(kept) <= 1 or sum(len(pair.source) + 1 for pair in kept) <= characters
    if sum(sizes) + len(sizes) <= characters:
        assert kept == pairs


def test_file_is_hugging_faces(tokenizers, tmp_path):
    tokenizers["bpe"].save(tmp_path / "tokenizer.json")
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved["model"]["type"] == "BPE"
    assert [token["content"] for token in saved["added_tokens"]] == list(TOKENS)
