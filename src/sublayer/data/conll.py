"""Tagged words in columns, a word a line: the format of the CoNLL shared tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import final

from sublayer.data.example import Tagged
from sublayer.data.files import lines

NO_WORD = re.compile(r"\d+[-.]\d+\t")
"""CoNLL-U: a token of several words, which follow, or a word that is not in the text."""


def read_conll(file: str, words: int, tags: int) -> Iterator[Tagged]:
    """Sentences, parted by blank lines; columns are parted by tabs, or by blanks if there is none.

    A line that begins with `#` is a comment before a sentence, and inside one if its number of
    columns is another. `-DOCSTART-` lines are left out.

    Raises:
        ValueError: a line has no such column, or the file has no sentence.
    """
    empty = True
    sentence = _Sentence(file, words, tags)
    for number, line in enumerate(lines(file), 1):
        if line.strip():
            sentence.add(number, line)
        elif sentence.rows:
            empty = False
            yield sentence.end()
    if sentence.rows:
        yield sentence.end()
    elif empty:
        raise ValueError(f"{file} has no sentence: write a word and its tag on each line")


@final
class _Sentence:
    """The lines since the last blank one."""

    def __init__(self, file: str, words: int, tags: int) -> None:
        self.file = file
        self.wanted = words, tags
        self.rows: list[tuple[str, str]] = []
        self._width = 0

    def add(self, number: int, line: str) -> None:
        columns = line.split("\t") if "\t" in line else line.split()
        width = len(columns)
        if line.startswith("#") and (not self.rows or width != self._width):
            return
        if columns[0] == "-DOCSTART-" or NO_WORD.match(line):
            return
        for column in self.wanted:
            if not -width <= column < width or not columns[column].strip():
                raise ValueError(
                    f"{self.file}:{number} has nothing in column {column}, but {width} columns: "
                    "correct the line, or 'words' and 'tags' in [data]"
                )
        word, tag = (columns[column].strip() for column in self.wanted)
        self.rows.append((word, tag))
        self._width = width

    def end(self) -> Tagged:
        words, tags = zip(*self.rows, strict=True)
        self.rows = []
        return Tagged(words, tags)
