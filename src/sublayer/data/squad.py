"""Questions about texts, in the JSON of SQuAD 1.1 and 2.0 or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sublayer.data.example import Question
from sublayer.data.files import whole
from sublayer.data.table import objects


def read_squad(file: str) -> Iterator[Question]:
    """Every question with its context and its answers; without answers it has none.

    A file whose name ends in `.jsonl` or `.jsonl.gz` has an object with `question`, `context` and
    `answers` on each line, any other is SQuAD's own JSON. Answers are a list of `text` and
    `answer_start`, or one object with a list of each. Answers that are given twice come once.

    Raises:
        ValueError: the file is not of this form, or an answer does not stand where it is said to.
    """
    by_line = file.removesuffix(".gz").endswith(".jsonl")
    for where, row, context in _rows(file) if by_line else _articles(file):
        question = row.get("question")
        if not isinstance(question, str) or not isinstance(context, str):
            missing = "context" if isinstance(question, str) else "question"
            raise ValueError(f"{where} has no '{missing}' that is text: give it one")
        yield Question(question, context, tuple(dict.fromkeys(_answers(row, context, where))))


def _rows(file: str) -> Iterator[tuple[str, dict[str, Any], object]]:
    """Place, object and context of the question on each line."""
    for where, row in objects(file):
        yield where, row, row.get("context")


def _articles(file: str) -> Iterator[tuple[str, dict[str, Any], object]]:
    """Place, object and context of each question in SQuAD's JSON."""
    try:
        content = json.loads(whole(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{file} is not JSON ({error}): fetch it again, "
            "or call it .jsonl if it has one question a line"
        ) from error
    for i, article in enumerate(_list(content, "data", file)):
        place = f"data[{i}] of {file}"
        for j, paragraph in enumerate(_list(article, "paragraphs", place)):
            place = f"data[{i}].paragraphs[{j}] of {file}"
            for k, row in enumerate(_list(paragraph, "qas", place)):
                where = f"data[{i}].paragraphs[{j}].qas[{k}] of {file}"
                if not isinstance(row, dict):
                    raise ValueError(f"{where} is no object: give SQuAD's JSON")
                yield where, row, paragraph.get("context")


def _list(value: object, key: str, where: str) -> list[Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    if not isinstance(inner, list):
        raise ValueError(f"{where} has no list '{key}': give SQuAD's JSON")
    return inner


def _answers(row: dict[str, Any], context: str, where: str) -> Iterator[tuple[int, str]]:
    given = row.get("answers")
    try:
        pairs = (
            list(zip(given["answer_start"], given["text"], strict=True))
            if isinstance(given, dict)
            else [(answer["answer_start"], answer["text"]) for answer in given or []]
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"the answers of {where} are not 'text' and 'answer_start' of each ({error}): "
            "write them as SQuAD does"
        ) from error
    for start, text in pairs:
        fits = isinstance(start, int) and isinstance(text, str) and start >= 0
        if not fits or not text or not context.startswith(text, start):
            raise ValueError(
                f"an answer of {where} does not stand at character {start} of its context: "
                f"{text!r:.60}; correct 'answer_start' or 'text'"
            )
        yield start, text
