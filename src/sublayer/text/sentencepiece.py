"""SentencePiece models (Kudo & Richardson 2018), with a vocabulary of ids beside them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from sublayer.text.codec import Codec

SPACE = "▁"
WRITTEN = re.compile(r"(<extra_id_\d+>|^>>[^<>]+<<)")
"""Tokens that a text may name: T5's sentinels, and the target language of OPUS-MT at its begin."""


@final
class SentencePieceCodec(Codec):
    """Cuts by a model, `spm`, and numbers the pieces by `ids`; `silent` ones give no text.

    Raises:
        ValueError: the package sentencepiece is missing, or the model is damaged.
    """

    def __init__(
        self, spm: bytes, ids: Mapping[str, int], unknown: str, silent: Sequence[str]
    ) -> None:
        self.spm, self.ids, self.unknown, self.silent = spm, ids, unknown, tuple(silent)
        self._pieces = {id: piece for piece, id in ids.items()}
        self._processor = _processor(spm)

    @property
    def size(self) -> int:
        """Number of ids."""
        return max(self._pieces) + 1

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text alone."""
        unknown = self.ids[self.unknown]
        return [[self.ids.get(piece, unknown) for piece in self._cut(text)] for text in texts]

    def _cut(self, text: str) -> list[str]:
        pieces: list[str] = []
        for number, part in enumerate(WRITTEN.split(text)):
            if number % 2 and part in self.ids:
                pieces.append(part)
            else:
                pieces += self._processor.encode(part, out_type=str)
        return pieces

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` the piece of each id begins and ends, in characters."""
        spans: list[tuple[int, int]] = []
        start = 0
        for number, part in enumerate(WRITTEN.split(text)):
            if number % 2 and part in self.ids:
                spans.append((start, start + len(part)))
            else:
                found = self._processor.encode(part, out_type="immutable_proto").pieces
                spans += [(start + piece.begin, start + piece.end) for piece in found]
            start += len(part)
        return spans

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; special ids give nothing."""
        pieces = [self._pieces[id] for id in ids if id in self._pieces]
        shown = [piece for piece in pieces if piece not in self.silent]
        text: str = self._processor.decode_pieces(shown)
        return text.replace(SPACE, " ").strip()

    def piece(self, id: int) -> str | None:
        """What an id stands for."""
        return self._pieces.get(id)

    def id_of(self, token: str) -> int | None:
        """The id of a token."""
        return self.ids.get(token)

    def token(self, id: int) -> str | None:
        """How an id is written in the vocabulary."""
        return self._pieces.get(id)

    def add(self, tokens: Sequence[str]) -> None:
        """Refused.

        Raises:
            ValueError: one of the tokens is not there.
        """
        for token in tokens:
            if token not in self.ids:
                raise ValueError(
                    f"this SentencePiece vocabulary has no {token}, and cannot be given one; "
                    "take a model with a tokenizer.json"
                )

    def as_json(self) -> str:
        """The model, as text, and the ids."""
        model = base64.b64encode(self.spm).decode()
        keys = {"sentencepiece": model, "unknown": self.unknown, "silent": self.silent}
        return json.dumps(keys | {"ids": dict(self.ids)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, keys: Mapping[str, Any]) -> SentencePieceCodec:
        """What `as_json` wrote."""
        spm = base64.b64decode(keys["sentencepiece"])
        return cls(spm, keys["ids"], keys["unknown"], keys["silent"])

    @classmethod
    def read(
        cls, file: Path, ids: Mapping[str, int] | None = None, more: Sequence[str] = ()
    ) -> SentencePieceCodec:
        """A model's file; without `ids` its own numbers, those of `more` behind them.

        Raises:
            ValueError: the package sentencepiece is missing, or the file is damaged.
        """
        content = file.read_bytes()
        processor = _processor(content, file)
        own = [processor.id_to_piece(id) for id in range(processor.get_piece_size())]
        if ids is None:
            ids = {piece: id for id, piece in enumerate([*own, *more])}
        unknown = own[processor.unk_id()]
        silent = [piece for id, piece in enumerate(own) if processor.is_control(id)]
        return cls(content, ids, unknown, [*silent, unknown, "</s>", "<pad>", *more])


def _processor(model: bytes, where: Path | None = None) -> Any:
    try:
        import sentencepiece
    except ModuleNotFoundError:
        raise ValueError(
            "this vocabulary needs the package sentencepiece: pip install 'sublayer[sentencepiece]'"
        ) from None
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{where or 'the model'} is no SentencePiece model ({error})") from None
