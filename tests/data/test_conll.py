"""Words and tags in columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.data import ConllData
from sublayer.data.conll import read_conll
from sublayer.data.example import Tagged
from sublayer.data.source import read


def write(path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_conll_2003(tmp_path):
    first = "EU NNP I-NP B-ORG\n# NN I-NP O\nrejects VBZ I-VP O\n"
    text = f"-DOCSTART- -X- O O\n\n{first}\n\nPeter NNP B\n"
    data = ConllData(kind="conll", train=write(tmp_path / "a", text))
    assert list(read(data, "train")) == [
        Tagged(("EU", "#", "rejects"), ("B-ORG", "O", "O")),
        Tagged(("Peter",), ("B",)),
    ]


def test_conll_u(tmp_path):
    text = (
        "# text = Im Haus\n1-2\tIm\t_\t_\n1\tin\tin\tADP\n2\tdem\tder\tDET\n# a comment\n"
        "2.1\tleer\t_\tVERB\n3\tNew York\t_\tPROPN\n\n"
    )
    data = ConllData(kind="conll", train=write(tmp_path / "a", text), words=1, tags=3)
    assert list(read(data, "train")) == [Tagged(("in", "dem", "New York"), ("ADP", "DET", "PROPN"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a X\n\nb\n", r"a:3 has nothing in column 1, but 1 columns: correct the line, or 'words'"),
        ("a\tX\nb\t\n", r"a:2 has nothing in column 1, but 2 columns"),
        ("# nothing\n\n-DOCSTART- O\n", r"a has no sentence: write a word and its tag on each"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        list(read_conll(write(tmp_path / "a", text), 0, 1))


@given(text=st.text(st.sampled_from("ab#-1.\t \n"), min_size=1))
def test_any_text_is_read_or_refused_in_one_sentence(tmp_path_factory, text):
    file = write(tmp_path_factory.getbasetemp() / "any.conll", text)
    try:
        assert all(len(t.words) == len(t.tags) > 0 for t in read_conll(file, 0, -1))
    except ValueError as error:
        assert file in str(error)  # noqa: PT017 - either outcome is right
