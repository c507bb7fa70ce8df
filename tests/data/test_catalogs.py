"""Catalogues of many languages: a small folder, and those of Django."""

from __future__ import annotations

import pytest

from sublayer.config.data import CatalogsData, Splits
from sublayer.data.pair import Pair
from sublayer.data.source import read, splits

HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
ALL = Splits(train=100, valid=0, test=0)


@pytest.fixture
def folder(tmp_path):
    for name, entries in {
        "a/locale/de": {"Yes": "Ja", "No": "Nein", "URL": "URL", "two  words": "zwei\\nWörter"},
        "b/locale/de": {"Yes": "Ja", "No": "Nicht"},
        "a/locale/fr": {"Yes": "Oui", "Maybe": "Peut-être"},
        "a/locale/en": {"Yes": "", "No": ""},
    }.items():
        file = tmp_path / name / "LC_MESSAGES" / "x.po"
        file.parent.mkdir(parents=True)
        text = "".join(f'msgid "{key}"\nmsgstr "{value}"\n\n' for key, value in entries.items())
        file.write_text(HEADER + text, encoding="utf-8")
    return str(tmp_path)


def catalogs(folder: str, **keys) -> CatalogsData:
    return CatalogsData(kind="catalogs", folder=folder, **{"splits": ALL, "least": 1, **keys})


def test_languages(folder):
    found = {}
    for pair in read(catalogs(folder), "train"):
        found.setdefault(pair.targets, []).append(pair.source)
    assert found == {
        ("de",): ["Ja", "Nein", "Nicht", "zwei Wörter"],
        ("en",): ["Yes", "No", "URL", "two words", "Maybe"],
        ("fr",): ["Oui", "Peut-être"],
    }


def test_chosen_languages_and_lengths(folder):
    data = catalogs(folder, languages=["fr"], min_length=4)
    assert list(read(data, "train")) == [Pair("Peut-être", ("fr",))]
    data = catalogs(folder, least=3)
    assert {pair.targets for pair in read(data, "train")} == {("de",), ("en",)}


def test_pairs(folder):
    assert list(read(catalogs(folder, view="pairs"), "train")) == [
        Pair("Yes", ("Ja",)),
        Pair("No", ("Nein", "Nicht")),
        Pair("URL", ("URL",)),
        Pair("two words", ("zwei Wörter",)),
    ]
    data = catalogs(folder, view="pairs", source_language="de", target_language="fr")
    assert list(read(data, "train")) == [Pair("Ja", ("Oui",))]
    data = catalogs(folder, view="pairs", source_language="fr", target_language="en")
    assert list(read(data, "train")) == [Pair("Oui", ("Yes",)), Pair("Peut-être", ("Maybe",))]


def test_translations_of_a_message_are_in_one_split():
    data = CatalogsData(kind="catalogs", languages=["en", "de", "pl"])
    parts = {split: list(read(data, split)) for split in splits(data)}
    english = {s: {p.source for p in part if p.targets == ("en",)} for s, part in parts.items()}
    translated = CatalogsData(kind="catalogs", view="pairs")
    for split, texts in english.items():
        assert {pair.source for pair in read(translated, split)} <= texts
    assert len(parts["train"]) > 2000


def test_django_has_many_languages():
    pairs = [*read(CatalogsData(kind="catalogs", least=700), "test")]
    assert len({pair.targets for pair in pairs}) > 30


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"languages": ["dee"]}, "no catalogues of the language 'dee'; did you mean 'de'"),
        (
            {"languages": ["de", "fr"], "least": 3},
            "'fr' has 2 messages, fewer than 3: take it out of 'languages' in .*or lower 'least'",
        ),
        ({"least": 9}, "no language has 9 messages: lower 'least'"),
        ({"view": "pairs", "target_language": "es"}, "no catalogues of the language 'es'; did"),
        ({"view": "pairs", "target_language": "en"}, "both languages are 'en': name another"),
        ({"folder": "nowhere"}, r"there is no folder nowhere \(seen from"),
        ({"folder": None, "package": "no_such"}, "no installed package 'no_such': install it"),
        ({"folder": None, "package": "json"}, r"there is no LANGUAGE/LC_MESSAGES/\*\.po in .*json"),
    ],
)
def test_mistakes(folder, keys, message):
    with pytest.raises(ValueError, match=message):
        list(read(catalogs(**{"folder": folder, **keys}), "train"))
