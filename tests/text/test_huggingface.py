"""Tokenizers of Hugging Face folders: the same ids and texts as transformers gives."""

from __future__ import annotations

import json

import pytest
import transformers as hf
from tokenizers import Tokenizer as Pipeline
from tokenizers import decoders, models, pre_tokenizers, trainers

from sublayer.config.schema import TokenizerSide
from sublayer.text.huggingface import read_tokenizers, write_tokenizers
from sublayer.text.special import MASK, Framing
from sublayer.text.tokenizer import Tokenizer, Tokenizers

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "It's a naïve café, isn't it? 42,000 times!",
    "  spaces   and\ttabs ",
    "日本 unknown ☃ signs",
    "a",
    "",
]
LEARNED = [*TEXTS, *"abcdefghijklmnopqrstuvwxyz", "the dogs jumped over a lazy fox"] * 4


def bert(folder):
    words = sorted({w for text in TEXTS for w in text.lower().split()})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,!?'"]
    pieces += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"] + words
    (folder / "vocab.txt").write_text("".join(f"{p}\n" for p in dict.fromkeys(pieces)))
    return hf.BertTokenizer.from_pretrained(folder)


def byte_level(folder, special):
    pipeline = Pipeline(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    pipeline.train_from_iterator(LEARNED, trainer)
    pipeline.model.save(str(folder))


def gpt2(folder):
    byte_level(folder, ["<|endoftext|>"])
    return hf.GPT2Tokenizer.from_pretrained(folder)


def roberta(folder):
    byte_level(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    mask = hf.AddedToken("<mask>", lstrip=True, special=True)  # as RoBERTa's is published
    return hf.RobertaTokenizer.from_pretrained(folder, mask_token=mask)


def llama(folder):
    pipeline = Pipeline(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    pipeline.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=tokens, show_progress=False)
    pipeline.train_from_iterator(LEARNED, trainer)
    model = json.loads(pipeline.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    made = hf.LlamaTokenizer(vocab=model["vocab"], merges=merges, add_bos_token=True)
    made.save_pretrained(folder)
    return hf.AutoTokenizer.from_pretrained(folder)


def t5(folder):
    spm = pytest.importorskip("sentencepiece")
    model = trained(spm, folder / "spiece", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    pieces = [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]
    pieces += [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    made = hf.T5Tokenizer(vocab=pieces)
    made.save_pretrained(folder / "fast")
    return made


def trained(spm, prefix, **ids):
    """A SentencePiece model over the texts."""
    file = prefix.parent / "texts.txt"
    file.write_text("".join(f"{text}\n" for text in LEARNED))
    spm.SentencePieceTrainer.train(
        input=str(file),
        model_prefix=str(prefix),
        vocab_size=90,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
    )
    return spm.SentencePieceProcessor(model_file=f"{prefix}.model")


KINDS = {"bert": bert, "gpt2": gpt2, "roberta": roberta, "llama": llama}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """Their tokenizer, from files of its own and then with a tokenizer.json, and the folders."""
    theirs = KINDS[request.param](tmp_path)
    theirs.save_pretrained(tmp_path / "saved")
    return theirs, [tmp_path, tmp_path / "saved"]


def test_ids_frames_and_texts_are_theirs(kind):
    theirs, folders = kind
    for folder in folders:
        ours = read_tokenizers(folder, {}).source
        for text in TEXTS:
            alone = theirs.encode(text, add_special_tokens=False)
            assert ours.encode(text) == alone
            assert ours.frame(alone)[0] == theirs.encode(text)
            assert ours.decode(alone) == theirs.decode(alone, skip_special_tokens=True)
            both = theirs(text, "a fox", return_token_type_ids=True)
            second = theirs.encode("a fox", add_special_tokens=False)
            assert ours.frame(alone, second)[0] == both["input_ids"]
            if len(set(both["token_type_ids"])) > 1 and theirs.cls_token_id is not None:
                assert ours.frame(alone, second) == (both["input_ids"], both["token_type_ids"])
        assert ours.vocab_size == len(theirs)


def test_special_ids_are_theirs(kind):
    theirs, folders = kind
    for folder in folders:
        special = read_tokenizers(folder, {}).source.special
        begin = theirs.cls_token_id if theirs.cls_token_id is not None else theirs.bos_token_id
        end = theirs.sep_token_id if theirs.sep_token_id is not None else theirs.eos_token_id
        assert (special.bos, special.eos, special.mask) == (begin, end, theirs.mask_token_id)
        assert special.unk == theirs.unk_token_id
        if theirs.pad_token_id is not None:
            assert special.pad == theirs.pad_token_id


def test_a_mask_in_a_text_is_the_mask(kind):
    theirs, folders = kind
    if theirs.mask_token is None:
        pytest.skip("it has none")
    text = f"a {theirs.mask_token} fox"
    for folder in folders:
        ours = read_tokenizers(folder, {}).source
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
        assert ours.pieces([ours.special.mask]) == [theirs.mask_token]


def test_it_comes_back_from_a_run_folder(kind, tmp_path):
    _, folders = kind
    ours = read_tokenizers(folders[0], {})
    ours.save(tmp_path / "run")
    back = Tokenizers.load(tmp_path / "run")
    assert back.shared
    assert (back.source.special, back.source.framing) == (ours.source.special, ours.source.framing)
    assert back.source.encode_batch(TEXTS) == ours.source.encode_batch(TEXTS)


def test_only_a_begin_that_is_asked_for_stands_before_a_prompt(tmp_path):
    for name, make in (("gpt2", gpt2), ("llama", llama)):
        folder = tmp_path / name
        folder.mkdir()
        make(folder)
        ours = read_tokenizers(folder, {}).source
        assert ours.opening == ([] if name == "gpt2" else [ours.special.bos])


def test_special_ids_may_stand_in_the_configuration_alone(tmp_path):
    gpt2(tmp_path)
    special = read_tokenizers(tmp_path, {"pad_token_id": 7, "decoder_start_token_id": 9}).source
    assert (special.special.pad, special.special.bos) == (7, 9)


def test_t5_of_a_sentencepiece_model(tmp_path):
    theirs = t5(tmp_path)
    asked = [*TEXTS, "a <extra_id_0> over <extra_id_1>."]
    for folder in (tmp_path, tmp_path / "fast"):
        ours = read_tokenizers(folder, {"decoder_start_token_id": 0}).source
        assert (ours.special.pad, ours.special.bos, ours.special.eos) == (0, 0, 1)
        assert ours.pieces(ours.special.sentinels[:2]) == ["<extra_id_0>", "<extra_id_1>"]
        assert len(ours.special.sentinels) == 100
        assert ours.vocab_size == len(theirs)
        for text in asked:
            ids = theirs.encode(text)
            assert ours.frame(ours.encode(text))[0] == ids
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True).strip()
        ours.save(tmp_path / "run" / "tokenizer.json")
        assert Tokenizer.load(tmp_path / "run" / "tokenizer.json").encode_batch(asked) == (
            ours.encode_batch(asked)
        )


def marian(folder):
    """An OPUS-MT vocabulary: two models, one table, padding last."""
    spm = pytest.importorskip("sentencepiece")
    own = [trained(spm, folder / side) for side in ("source", "target")]
    pieces = [m.id_to_piece(i) for m in own for i in range(3, m.get_piece_size())]
    table = dict.fromkeys(["</s>", "<unk>", *pieces, ">>de<<", "<pad>"])
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(table)}))
    for side in ("source", "target"):
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "MarianTokenizer"})
    )
    return len(table) - 1


@pytest.mark.filterwarnings("ignore:Recommended")
def test_marian(tmp_path):
    pad = marian(tmp_path)
    theirs = hf.MarianTokenizer.from_pretrained(tmp_path)
    ours = read_tokenizers(tmp_path, {"decoder_start_token_id": pad, "pad_token_id": pad})
    for side in (ours.source, ours.target):
        assert (side.special.pad, side.special.bos, side.special.eos) == (pad, pad, 0)
        assert side.vocab_size == len(theirs)
    for text in [*TEXTS, ">>de<< a fox"]:
        ids = theirs.encode(text)
        assert ours.source.frame(ours.source.encode(text))[0] == ids
        target = theirs(text_target=text)["input_ids"]
        assert [*ours.target.encode(text), 0] == target
        assert ours.target.decode(target) == theirs.decode(target, skip_special_tokens=True)
    ours.save(tmp_path / "run")
    back = Tokenizers.load(tmp_path / "run")
    assert back.target.encode_batch(TEXTS) == ours.target.encode_batch(TEXTS)
    write_tokenizers(ours, tmp_path / "out", ours.source.framing)
    again = hf.MarianTokenizer.from_pretrained(tmp_path / "out")
    assert [again.encode(text) for text in TEXTS] == [theirs.encode(text) for text in TEXTS]


@pytest.mark.parametrize("kind", ["characters", "words", "bpe", "wordpiece", "unigram"])
def test_a_vocabulary_learned_here_is_the_same_in_transformers(kind, tmp_path):
    ours = Tokenizer.train(TokenizerSide(kind=kind, vocab_size=300), LEARNED)
    write_tokenizers(Tokenizers(ours, ours), tmp_path, ours.framing)
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, "a </s> b"]:
        assert theirs.encode(text) == ours.frame(ours.encode(text))[0]
        both = theirs(text, "a fox", return_token_type_ids=True)
        expected = ours.frame(ours.encode(text), ours.encode("a fox"))
        assert (both["input_ids"], both["token_type_ids"]) == expected
        assert theirs.decode(ours.encode(text), skip_special_tokens=True) == (
            ours.decode(ours.encode(text))
        )
    assert (theirs.pad_token_id, theirs.cls_token_id, theirs.eos_token_id) == (0, 1, 2)
    back = read_tokenizers(tmp_path, {}).source
    assert (back.special, back.framing) == (ours.special, ours.framing)
    assert back.encode_batch(TEXTS) == ours.encode_batch(TEXTS)


def test_a_mask_goes_over_too(tmp_path):
    ours = Tokenizer.train(TokenizerSide(kind="words", vocab_size=50), LEARNED, [MASK])
    write_tokenizers(Tokenizers(ours, ours), tmp_path, Framing.of(ours.special))
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.mask_token_id == ours.special.mask
    assert theirs.encode("a <mask> fox", add_special_tokens=False)[1] == ours.special.mask


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no tokenizer: neither tokenizer\.json nor"):
        read_tokenizers(tmp_path, {})
    (tmp_path / "spiece.model").write_bytes(b"no model")
    pytest.importorskip("sentencepiece")
    with pytest.raises(ValueError, match="is no SentencePiece model"):
        read_tokenizers(tmp_path, {})
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    with pytest.raises(ValueError, match="changes texts before"):
        read_tokenizers(tmp_path, {})


def test_two_vocabularies_are_not_written(tmp_path):
    one, two = (Tokenizer.train(TokenizerSide(kind="characters"), LEARNED) for _ in range(2))
    with pytest.raises(ValueError, match=r"train with \[tokenizer\.shared\]"):
        write_tokenizers(Tokenizers(one, two), tmp_path, one.framing)
