from __future__ import annotations

import pytest

from sublayer.data.judgements import read_analogies, read_similarity


@pytest.mark.parametrize("between", ["\t", ",", ";", " ", " , ", "   "])
@pytest.mark.parametrize("head", ["", "Word 1{}Word 2{}Human (mean)\n", "# a remark\n"])
def test_similarity(tmp_path, between, head):
    path = tmp_path / "words"
    rows = [("love", "sex", "6.77"), ("tiger", "cat", "-7")]
    path.write_text(
        head.format(between, between) + "".join(f"{between.join(row)}\n" for row in rows) + "\n"
    )
    assert read_similarity(str(path)) == [("love", "sex", 6.77), ("tiger", "cat", -7.0)]


def test_words_with_spaces_and_further_columns(tmp_path):
    (tmp_path / "words").write_text("ice cream\tsnow\t5\t4\t6\nhot dog,cat,1\n")
    assert read_similarity(str(tmp_path / "words")) == [
        ("ice cream", "snow", 5.0),
        ("hot dog", "cat", 1.0),
    ]


PUBLISHED = {
    "SimLex-999": """word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)
old\tnew\tA\t1.58\t2.72\t2.81\t2\t7.25
take\tbring\tV\t0\t2.5\t2.48\t1\t1.1
""",
    "SimVerb-3500": "old\tnew\tV\t1.58\tANTONYMS\ntake\tbring\tV\t0\tNONE\n",
    "RG-65": "old;new;1.58\ntake;bring;0\n",
    "RareWords": "old\tnew\t1.58\t1\t2\ntake\tbring\t0\t0\t0\n",
    "MEN": "old new 1.58\ntake bring 0\n",
    "WordSim-353": "Word 1,Word 2,Human (mean)\nold,new,1.58\ntake,bring,0\n",
    "classes in full": "old;new;adjective;1.58\ntake;bring;verb;0\n",
}
"""Lines in the forms in which these are given away."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(tmp_path, name):
    (tmp_path / "words").write_text(PUBLISHED[name])
    assert read_similarity(str(tmp_path / "words")) == [
        ("old", "new", 1.58),
        ("take", "bring", 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t\ttiger\tcat\t7.35\nt\ttiger\tcat\t7.35\n", "words:2 is not two words and a number"),
        ("ice cream snow 5\nice cream snow 5\n", "words:2 is not two words and a number"),
        ("a b 1\na b\n", "words:2 is not two words and a number"),
        ("a b 1\na b c\n", "words:2 is not two words and a number"),
        ("a b 1\na b inf\n", "words:2 is not two words and a number"),
        ("a,,1\na,,1\n", "words:2 is not two words and a number"),
        ("Word 1,Word 2,Human\n", "words has no line of two words and a number: give another"),
        ("", "words is empty"),
    ],
)
def test_what_is_no_similarity(tmp_path, text, message):
    (tmp_path / "words").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_similarity(str(tmp_path / "words"))


def test_analogies(tmp_path):
    path = tmp_path / "questions"
    path.write_text("a b c d\n: capital common\nAthens Greece Oslo Norway\n\n: plural\nx xs y ys\n")
    assert read_analogies(str(path)) == {
        "all": [("a", "b", "c", "d")],
        "capital common": [("Athens", "Greece", "Oslo", "Norway")],
        "plural": [("x", "xs", "y", "ys")],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (": a\nx y z\n", "questions:2 has 3 words, but an analogy has 4: correct"),
        ("x y z u v\n", "questions:1 has 5 words"),
        (":\nx y z u\n", "questions:1 names no section"),
        (": a\n\n", "questions is empty"),
    ],
)
def test_what_is_no_analogy(tmp_path, text, message):
    (tmp_path / "questions").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_analogies(str(tmp_path / "questions"))


def test_no_file(tmp_path):
    for read in (read_similarity, read_analogies):
        with pytest.raises(ValueError, match="there is no file"):
            read(str(tmp_path / "none"))
