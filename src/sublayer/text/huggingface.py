"""Tokenizers of Hugging Face folders, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers import Tokenizer as Pipeline

from sublayer.config.files import atomic_write, dump_json, load_json, load_object
from sublayer.text.codec import Codec, ForeignCodec, LearnedCodec
from sublayer.text.sentencepiece import SentencePieceCodec
from sublayer.text.special import Framing, Special, sentinel
from sublayer.text.tokenizer import Tokenizer, Tokenizers, read_pipeline, sentinels_of

USUAL = {
    "pad": ("[PAD]", "<pad>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "bos": ("<s>", "<|endoftext|>"),
    "eos": ("</s>", "<|endoftext|>"),
    "unk": ("[UNK]", "<unk>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}
"""How special tokens are written where a folder leaves it to the class of its tokenizer."""
SENTINELS = 100
"""Of T5, where its folder does not say."""
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "source.spm",
    "target.spm",
    "target_vocab.json",
)
"""All that a tokenizer may be made of."""


@dataclass(frozen=True)
class _Says:
    """What a folder says of its tokenizer, and `ids` that its `config.json` gives."""

    keys: Mapping[str, Any]
    ids: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, ids: Mapping[str, Any]) -> _Says:
        files = (folder / "special_tokens_map.json", folder / "tokenizer_config.json")
        parts = [load_object(file) for file in files if file.exists()]
        return cls({key: value for part in parts for key, value in part.items()}, ids)

    def token(self, role: str, codec: Codec) -> str | None:
        """How the token of a role is written; None if the vocabulary has none."""
        if f"{role}_token" in self.keys:
            value = self.keys[f"{role}_token"]
            return value["content"] if isinstance(value, dict) else value
        return next((token for token in USUAL[role] if codec.id_of(token) is not None), None)

    def special(self, codec: Codec) -> Special:
        """The ids by their tokens, else as the configuration gives them."""

        def id_of(role: str) -> int | None:
            token = self.token(role, codec)
            return None if token is None else codec.id_of(token)

        def first(*found: Any) -> int:
            return next((id for id in found if isinstance(id, int)), 0)

        eos = first(id_of("sep"), id_of("eos"), *_listed(self.ids.get("eos_token_id")))
        bos = first(
            self.ids.get("decoder_start_token_id"),
            id_of("cls"),
            id_of("bos"),
            None if "bos_token" in self.keys else self.ids.get("bos_token_id"),
            eos,
        )
        pad = first(id_of("pad"), self.ids.get("pad_token_id"), eos)
        unknown = first(id_of("unk"), pad)
        return Special(pad, bos, eos, unknown, id_of("mask"), sentinels_of(codec))

    def framing(self, pipeline: Pipeline) -> Framing:
        """By `add_bos_token` and `add_eos_token` where they stand, else as the pipeline does it."""
        if not {"add_bos_token", "add_eos_token"} & self.keys.keys():
            return _framing(pipeline)
        codec = ForeignCodec(pipeline)
        ends: list[tuple[int, ...]] = []
        for role in ("bos", "eos"):
            token = self.token(role, codec) if self.keys.get(f"add_{role}_token") else None
            id = None if token is None else codec.id_of(token)
            ends.append(() if id is None else (id,))
        bos, eos = ends
        return Framing((bos, eos), (bos, (*eos, *bos), eos))


def _listed(ids: Any) -> list[Any]:
    return ids if isinstance(ids, list) else [ids]


def read_tokenizers(folder: Path, ids: Mapping[str, Any]) -> Tokenizers:
    """The tokenizers of a folder; `ids` are special ones as its `config.json` gives them.

    Raises:
        ValueError: there is none, it is damaged, or of a kind that needs a `tokenizer.json`.
    """
    says = _Says.of(folder, ids)
    if (folder / "source.spm").exists():
        return _marian(folder, says)
    if (folder / "tokenizer.json").exists():
        pipeline = read_pipeline(folder / "tokenizer.json")
    elif (folder / "vocab.txt").exists():
        pipeline = _wordpiece(folder / "vocab.txt", says)
    elif (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        pipeline = _byte_pairs(folder, says)
    elif any((folder / name).exists() for name in ("spiece.model", "tokenizer.model")):
        both = _sentences(folder, says)
        return Tokenizers(both, both)
    else:
        raise ValueError(
            f"{folder} has no tokenizer: neither tokenizer.json nor vocab.txt, vocab.json with "
            "merges.txt, spiece.model or source.spm; save it there with save_pretrained"
        )
    both = _foreign(pipeline, says)
    return Tokenizers(both, both)


def _foreign(pipeline: Pipeline, says: _Says) -> Tokenizer:
    """A pipeline with the special tokens that its folder names beside it."""
    known = {token.content for token in pipeline.get_added_tokens_decoder().values()}
    listed = says.keys.get("added_tokens_decoder") or {}
    for _, token in sorted(listed.items(), key=lambda item: int(item[0])):
        if token["content"] not in known:
            pipeline.add_tokens([AddedToken(**token)])
            known.add(token["content"])
    codec = ForeignCodec(pipeline)
    named = [says.token(role, codec) for role in USUAL]
    pipeline.add_special_tokens([token for token in named if token and token not in known])
    cleans = bool(says.keys.get("clean_up_tokenization_spaces"))
    cleans = cleans and not isinstance(pipeline.model, models.BPE)
    return Tokenizer(
        ForeignCodec(pipeline, cleans=cleans), says.special(codec), says.framing(pipeline)
    )


def _framing(pipeline: Pipeline) -> Framing:
    """What the pipeline puts round texts, seen from what it makes of a letter, and of two."""
    one, two = pipeline.encode("a"), pipeline.encode("a", "a")
    places = one.sequence_ids
    if 0 not in places:
        return Framing(((), tuple(one.ids)), ((), (), tuple(two.ids)))
    single = _round(one.ids, places, (0,))
    pair = _round(two.ids, two.sequence_ids, (0, 1))
    second = two.type_ids[two.sequence_ids.index(1)]
    return Framing((single[0], single[1]), (pair[0], pair[1], pair[2]), second)


def _round(
    ids: Sequence[int], places: Sequence[int | None], texts: Sequence[int]
) -> list[tuple[int, ...]]:
    """The ids before, between and after the `texts`."""
    cuts = [0]
    for text in texts:
        start = places.index(text)
        cuts += [start, start + places.count(text)]
    cuts.append(len(ids))
    return [tuple(ids[a:b]) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]


def _wordpiece(file: Path, says: _Says) -> Pipeline:
    """BERT's `vocab.txt`: one piece a line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    ids = {line.rstrip("\n"): id for id, line in enumerate(lines)}
    names = {role: next((t for t in USUAL[role] if t in ids), None) for role in USUAL}
    pipeline = Pipeline(models.WordPiece(ids, unk_token=names["unk"] or "[UNK]"))
    pipeline.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=says.keys.get("tokenize_chinese_chars", True),
        strip_accents=says.keys.get("strip_accents"),
        lowercase=says.keys.get("do_lower_case", True),
    )
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = decoders.WordPiece()
    cls, sep = names["cls"], names["sep"]
    if cls and sep:
        pipeline.post_processor = _template(Framing.of(Special(0, ids[cls], ids[sep])), pipeline)
    return pipeline


def _template(framing: Framing, pipeline: Pipeline) -> Any:
    """A framing as tokenizers do it themselves."""

    def written(ids: Sequence[int], segment: int) -> list[str]:
        return [f"{pipeline.id_to_token(id)}:{segment}" for id in ids]

    (before, after), (first, between, last), second = framing.one, framing.two, framing.second
    return processors.TemplateProcessing(
        single=[*written(before, 0), "$A:0", *written(after, 0)],
        pair=[
            *written(first, 0),
            "$A:0",
            *written(between, 0),
            f"$B:{second}",
            *written(last, second),
        ],
        special_tokens=[
            (str(pipeline.id_to_token(id)), id)
            for id in dict.fromkeys([*before, *after, *first, *between, *last])
        ],
    )


def _byte_pairs(folder: Path, says: _Says) -> Pipeline:
    """GPT-2's `vocab.json` and `merges.txt`; with a mask in it, RoBERTa's, which frames texts."""
    model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    pipeline, space = Pipeline(model), says.keys.get("add_prefix_space", False)
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    pipeline.decoder = decoders.ByteLevel()
    codec = ForeignCodec(pipeline)
    mask, cls, sep = (says.token(role, codec) for role in ("mask", "bos", "eos"))
    if mask is None or cls is None or sep is None:
        return pipeline
    pipeline.add_special_tokens([AddedToken(mask, lstrip=True, special=True)])
    ids = pipeline.get_vocab()
    pipeline.post_processor = processors.RobertaProcessing(
        (sep, ids[sep]), (cls, ids[cls]), trim_offsets=True, add_prefix_space=space
    )
    return pipeline


def _sentences(folder: Path, says: _Says) -> Tokenizer:
    """One SentencePiece model: T5's `spiece.model`, Llama's `tokenizer.model`."""
    if (folder / "spiece.model").exists():
        if "do_lower_case" in says.keys or "keep_accents" in says.keys:
            raise ValueError(
                f"{folder} changes texts before its spiece.model; save its tokenizer.json there "
                "with save_pretrained of transformers' fast tokenizer"
            )
        more = [sentinel(i) for i in reversed(range(says.keys.get("extra_ids", SENTINELS)))]
        codec = SentencePieceCodec.read(folder / "spiece.model", more=more)
        special = says.special(codec)
        end = (special.eos,)
        return Tokenizer(codec, special, Framing(((), end), ((), end, end)))
    codec = SentencePieceCodec.read(folder / "tokenizer.model")
    special = says.special(codec)
    bos = (special.bos,) if says.keys.get("add_bos_token", True) else ()
    eos = (special.eos,) if says.keys.get("add_eos_token", False) else ()
    return Tokenizer(codec, special, Framing((bos, eos), (bos, (*eos, *bos), eos)))


def _marian(folder: Path, says: _Says) -> Tokenizers:
    """Two SentencePiece models, and one table of ids, or two."""
    ids = {side: load_json(folder / "vocab.json") for side in ("source", "target")}
    if says.keys.get("separate_vocabs"):
        ids["target"] = load_json(folder / "target_vocab.json")
    found = []
    for side in ("source", "target"):
        codec = SentencePieceCodec.read(folder / f"{side}.spm", ids[side])
        special = says.special(codec)
        eos = (special.eos,)
        found.append(Tokenizer(codec, special, Framing(((), eos), ((), (), eos))))
    return Tokenizers(found[0], found[1])


def write_tokenizers(tokenizers: Tokenizers, folder: Path, framing: Framing) -> None:
    """The files that transformers reads; texts stand in `framing` if it is not the vocabulary's.

    Raises:
        ValueError: there are two vocabularies, which no tokenizer of transformers has.
    """
    one = tokenizers.source
    keys: dict[str, Any] = _token_keys(one, framing)
    if isinstance(one.codec, SentencePieceCodec):
        keys |= _write_sentencepiece(tokenizers, folder)
    elif not tokenizers.shared:
        raise ValueError(
            "source and target have a vocabulary each, and transformers' tokenizers have one; "
            "train with [tokenizer.shared]"
        )
    else:
        pipeline = Pipeline.from_str(one.codec.as_json())
        if isinstance(one.codec, LearnedCodec):
            pipeline.post_processor = _template(framing, pipeline)
            # a text is no place for special tokens, unless they are what it is asked by
            keys["split_special_tokens"] = one.special.mask is None and not one.special.sentinels
        keys["tokenizer_class"] = "PreTrainedTokenizerFast"
        atomic_write(folder / "tokenizer.json", pipeline.to_str(pretty=True))
    dump_json(keys, folder / "tokenizer_config.json")


def _token_keys(tokenizer: Tokenizer, framing: Framing) -> dict[str, Any]:
    special = tokenizer.special
    ids = {"pad": special.pad, "bos": special.bos, "eos": special.eos, "unk": special.unk}
    if (special.bos,) in framing.one and (special.eos,) in framing.one:
        ids |= {"cls": special.bos, "sep": special.eos}
    if special.mask is not None:
        ids["mask"] = special.mask
    keys: dict[str, Any] = {f"{role}_token": tokenizer.pieces([id])[0] for role, id in ids.items()}
    if special.sentinels:
        keys["additional_special_tokens"] = tokenizer.pieces(special.sentinels)
    cleans = isinstance(tokenizer.codec, ForeignCodec) and tokenizer.codec.cleans
    return keys | {"clean_up_tokenization_spaces": cleans}


def _write_sentencepiece(tokenizers: Tokenizers, folder: Path) -> dict[str, Any]:
    """Models and tables of ids; what the configuration says of them."""
    source, target = tokenizers.source.codec, tokenizers.target.codec
    assert isinstance(source, SentencePieceCodec)
    assert isinstance(target, SentencePieceCodec)
    if tokenizers.shared:
        count = len(tokenizers.source.special.sentinels)
        atomic_write(folder / ("spiece.model" if count else "tokenizer.model"), source.spm)
        if count:
            return {"tokenizer_class": "T5Tokenizer", "extra_ids": count}
        return {"tokenizer_class": "LlamaTokenizer"}
    atomic_write(folder / "source.spm", source.spm)
    atomic_write(folder / "target.spm", target.spm)
    dump_json(source.ids, folder / "vocab.json")
    separate = source.ids != target.ids
    if separate:
        dump_json(target.ids, folder / "target_vocab.json")
    return {"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate}
