"""Gettext catalogues: the `.po` files in which programs are translated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sublayer.data.files import lines
from sublayer.data.optional import needs
from sublayer.data.pair import Pair


def read_po(path: str) -> Iterator[Pair]:
    """Finished translations, not fuzzy, not obsolete, of a `.po` file or of all in a folder.

    Files are plain or gzip. The first form of a plural belongs to the msgid, each other form to
    the msgid_plural.

    Raises:
        ValueError: there is no such file, it is no catalogue, or the package polib is missing.
    """
    with needs("polib", "data"):
        import polib
    for file in _catalogues(path):
        text = "\n".join(lines(file)) + "\n"
        try:
            entries = polib.pofile(text).translated_entries()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file} is no gettext catalogue ({error}): see 'msgfmt --check {file}'"
            ) from error
        for entry in entries:
            if entry.msgid_plural:
                one, *more = (form for _, form in sorted(entry.msgstr_plural.items()))
                yield Pair(entry.msgid, (one,))
                yield Pair(entry.msgid_plural, tuple(dict.fromkeys(more or [one])))
            else:
                yield Pair(entry.msgid, (entry.msgstr,))


def _catalogues(path: str) -> list[str]:
    if not Path(path).is_dir():
        return [path]
    files = sorted(
        str(file) for pattern in ("*.po", "*.po.gz") for file in Path(path).rglob(pattern)
    )
    if not files:
        raise ValueError(f"there is no .po file in the folder {path}: correct its path in [data]")
    return files
