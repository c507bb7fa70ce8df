"""What people say of words: how alike two are, and which analogies hold."""

from __future__ import annotations

import re

from sublayer.data.files import empty, lines

Similar = tuple[str, str, float]
"""Two words and how alike they are."""
Analogy = tuple[str, str, str, str]
"""a is to b as c is to d."""
PART_OF_SPEECH = re.compile(r"[A-Z]+|[a-z]|noun|verb|adj(ective)?|adv(erb)?")


def read_similarity(path: str) -> list[Similar]:
    """Two words and a number a line, with tabs, commas, semicolons or spaces between.

    The part of speech may stand before the number, as in SimLex-999 (`V`); what is behind it is
    left. A first line without a number is a heading, lines that begin with `#` are remarks.

    Raises:
        ValueError: there is no such file, or a line, which it names, is not of that form.
    """
    found: list[Similar] = []
    is_first = True
    for number, line in enumerate(lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        separator = next((mark for mark in "\t;," if line.count(mark) >= 2), None)
        parts = [part.strip() for part in line.split(separator)]
        if separator is not None and len(parts) > 3 and PART_OF_SPEECH.fullmatch(parts[2]):
            del parts[2]
        score = _number(parts[2]) if len(parts) > 2 and all(parts[:2]) else None
        if score is not None:
            found.append((parts[0], parts[1], score))
        elif not is_first:
            raise ValueError(
                f"{path}:{number} is not two words and a number with tabs, commas, semicolons or "
                "spaces between: correct the line"
            )
        is_first = False
    if not found:
        raise ValueError(f"{path} has no line of two words and a number: give another file")
    return found


def read_analogies(path: str) -> dict[str, list[Analogy]]:
    """Four words a line, by section: `: name` begins one (Mikolov et al. 2013a, questions-words).

    Raises:
        ValueError: there is no such file, or a line, which it names, is not of that form.
    """
    found: dict[str, list[Analogy]] = {}
    section = "all"
    for number, line in enumerate(lines(path), 1):
        words = line.split()
        if line.startswith(":"):
            section = line[1:].strip()
            if not section:
                raise ValueError(f"{path}:{number} names no section: write one behind the colon")
        elif len(words) == 4:
            found.setdefault(section, []).append((words[0], words[1], words[2], words[3]))
        elif words:
            raise ValueError(
                f"{path}:{number} has {len(words)} words, but an analogy has 4: correct the line"
            )
    if not found:
        raise empty(path)
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
