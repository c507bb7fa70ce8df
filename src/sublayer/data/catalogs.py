"""Message catalogues of many languages: texts and their languages, or their translations."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sublayer.config.data import CatalogsData
from sublayer.config.registry import nearest
from sublayer.data.catalog import read_po
from sublayer.data.example import Group
from sublayer.data.pair import Pair

MSGIDS = "en"
"""The language of the messages themselves."""

Messages = dict[str, tuple[str, ...]]
"""Of one language: its texts for each msgid."""


def read_catalogs(data: CatalogsData) -> Iterator[Group]:
    """Texts of the catalogues `LANGUAGE/LC_MESSAGES/*.po` of a package or folder.

    The key is the msgid, so that the translations of one message stand in one split. White space
    becomes single blanks.

    Raises:
        ValueError: the package is not installed, there is no catalogue or language, one has too
            few messages, or a catalogue cannot be read.
    """
    files = _files(data)
    return _pairs(data, files) if data.view == "pairs" else _labelled(data, files)


def _labelled(data: CatalogsData, files: dict[str, list[Path]]) -> Iterator[Group]:
    """Texts with the names of their languages; what was left in English is in no other."""
    wanted = data.languages or sorted({*files, MSGIDS})
    read = {name: _messages(_of(name, files), data.min_length) for name in wanted if name != MSGIDS}
    if MSGIDS in wanted:
        others = read or {name: _messages(files[name], 1) for name in sorted(files)}
        ids = dict.fromkeys(msgid for messages in others.values() for msgid in messages)
        read[MSGIDS] = {msgid: (msgid,) for msgid in ids if len(msgid) >= data.min_length}
    taken = 0
    for name in wanted:
        texts = [
            (msgid, form)
            for msgid, forms in read[name].items()
            for form in forms
            if name == MSGIDS or form != msgid
        ]
        if len(texts) >= data.least:
            taken += 1
            yield from ((msgid.encode(), (Pair(form, (name,)),)) for msgid, form in texts)
        elif data.languages:
            raise ValueError(
                f"'{name}' has {len(texts)} messages, fewer than {data.least}: "
                "take it out of 'languages' in [data], or lower 'least'"
            )
    if not taken:
        raise ValueError(f"no language has {data.least} messages: lower 'least' in [data]")


def _pairs(data: CatalogsData, files: dict[str, list[Path]]) -> Iterator[Group]:
    """Texts in one language and in another; of several texts of the source the first."""
    read = {
        name: _messages(_of(name, files), data.min_length)
        for name in (data.source_language, data.target_language)
        if name != MSGIDS
    }
    if not read:
        raise ValueError(f"both languages are '{MSGIDS}': name another in [data]")
    ids = dict.fromkeys(msgid for messages in read.values() for msgid in messages)
    read[MSGIDS] = {msgid: (msgid,) for msgid in ids if len(msgid) >= data.min_length}
    sources, targets = read[data.source_language], read[data.target_language]
    for msgid, forms in sources.items():
        if msgid in targets:
            yield msgid.encode(), (Pair(forms[0], targets[msgid]),)


def _messages(files: list[Path], min_length: int) -> Messages:
    """The texts for each msgid in all of `files` together, each once."""
    messages: Messages = {}
    for file in files:
        for pair in read_po(str(file)):
            texts = [" ".join(text.split()) for text in pair.targets]
            texts = [text for text in texts if len(text) >= min_length]
            if texts:
                msgid = " ".join(pair.source.split())
                messages[msgid] = tuple(dict.fromkeys([*messages.get(msgid, ()), *texts]))
    return messages


def _of(name: str, files: dict[str, list[Path]]) -> list[Path]:
    if name not in files:
        raise ValueError(
            f"there are no catalogues of the language '{name}'; {nearest(name, files)}"
        )
    return files[name]


def _files(data: CatalogsData) -> dict[str, list[Path]]:
    """The catalogues of each language but that of the messages."""
    folder = Path(data.folder) if data.folder else _home(data.package)
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder} (seen from {Path.cwd()}): correct its path in [data]"
        )
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("LC_MESSAGES/*.po")):
        files.setdefault(file.parts[-3], []).append(file)
    files.pop(MSGIDS, None)
    if not files:
        raise ValueError(
            f"there is no LANGUAGE/LC_MESSAGES/*.po in {folder}: name another package or folder"
        )
    return files


def _home(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"there is no installed package '{package}': install it "
            "(django comes with 'sublayer[demo]'), or name another in [data]"
        )
    return Path(spec.submodule_search_locations[0])
