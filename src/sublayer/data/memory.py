"""Translation memories: the TMX files (version 1.4) that translators' programs write."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedIOBase
from xml.etree.ElementTree import Element

from sublayer.data.files import opened
from sublayer.data.optional import needs
from sublayer.data.pair import Pair

XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

CODES = {"bpt", "ept", "it", "ph", "ut"}
"""Elements that hold the markup of the translated document, not its text."""


def read_tmx(file: str, source: str, target: str) -> Iterator[Pair]:
    """Units of a memory, plain or gzip, that have both languages.

    Several translations are several targets. `en` takes `en-US` and `en-GB` too; `en-US` takes
    only itself. No more than one unit is held in memory.

    Raises:
        ValueError: there is no such file, it is no XML, no unit has both languages, or the package
            defusedxml is missing.
    """
    with needs("defusedxml", "data"):
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import ParseError
    languages: set[str] = set()
    paired = False
    with opened(file) as stream:
        try:
            for unit in _units(stream):
                variants = list(_variants(unit))
                languages.update(language for language, _ in variants)
                sources = [text for language, text in variants if _is(language, source)]
                targets = [text for language, text in variants if _is(language, target)]
                if sources and targets:
                    paired = True
                    yield Pair(sources[0], tuple(targets))
        except (ParseError, DefusedXmlException, LookupError) as error:
            raise ValueError(
                f"{file} is no safe, whole XML ({error}): export the memory again"
            ) from error
    if not paired:
        raise ValueError(
            f"no unit of {file} has both '{source}' and '{target}', but these languages: "
            f"{', '.join(sorted(languages)) or 'none'}: correct source_language and target_language"
        )


def _units(stream: BufferedIOBase) -> Iterator[Element]:
    """Each `tu` element, which is then taken out of the tree: the whole tree would not fit."""
    from defusedxml.ElementTree import iterparse

    parents: list[Element] = []
    for event, element in iterparse(stream, ("start", "end")):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if _name(element) == "tu" and parents:
            yield element
            parents[-1].clear()


def _variants(unit: Element) -> Iterator[tuple[str, str]]:
    """Language and text of each variant of a unit."""
    for variant in unit:
        if _name(variant) == "tuv":
            language = variant.get(XML_LANG) or variant.get("lang") or ""
            for segment in variant:
                if _name(segment) == "seg":
                    yield language, _text(segment)


def _text(element: Element) -> str:
    text = element.text or ""
    for inner in element:
        if _name(inner) not in CODES:
            text += _text(inner)
        text += inner.tail or ""
    return text


def _name(element: Element) -> str:
    """The tag without its namespace, which some programs write."""
    return str(element.tag).rpartition("}")[2]


def _is(language: str, wanted: str) -> bool:
    language, wanted = language.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return language == wanted or language.startswith(wanted + "-")
