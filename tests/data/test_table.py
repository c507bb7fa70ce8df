"""Tab-separated values and JSON lines."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.schema import TableData
from sublayer.data.pair import Pair
from sublayer.data.source import read
from sublayer.data.table import read_csv, read_jsonl, read_tsv

field = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t"), min_size=1)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("st"), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def write(path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_tsv_by_name(tmp_path):
    file = write(tmp_path / "a.tsv", 'id\ttarget\tsource\n1\t"B"\t a\\n \n\n2\tD\tc\n')
    assert list(read_tsv(file, "source", "target")) == [Pair(" a\\n ", ('"B"',)), Pair("c", ("D",))]


def test_tsv_by_number_has_no_header(tmp_path):
    file = write(tmp_path / "a.tsv", "source\ttarget\na\tB\n")
    assert list(read_tsv(file, 1, 0)) == [Pair("target", ("source",)), Pair("B", ("a",))]


def test_tsv_by_name_and_number(tmp_path):
    file = write(tmp_path / "a.tsv", "x\ty\na\tB\n")
    assert list(read_tsv(file, "x", 1)) == [Pair("a", ("B",))]


@given(rows=st.lists(st.tuples(field, field), min_size=1))
def test_tsv_comes_back(folder, rows):
    file = write(
        folder / "a.tsv", "s\tt\n" + "".join(f"{source}\t{target}\n" for source, target in rows)
    )
    assert list(read_tsv(file, "s", "t")) == [Pair(source, (target,)) for source, target in rows]


def test_tsv_without_the_column(tmp_path):
    file = write(tmp_path / "a.tsv", "sources\tgoal\na\tB\n")
    with pytest.raises(
        ValueError,
        match=r"first line of .*a\.tsv names no column 'source'; did you mean 'sources'\?",
    ):
        list(read_tsv(file, "source", "goal"))
    with pytest.raises(ValueError, match=r"names no column 'q'; known: goal, sources"):
        list(read_tsv(file, "q", "goal"))
    for number in (2, -1):
        with pytest.raises(
            ValueError,
            match=rf"a\.tsv has no column {number}: give a name, or a number from 0 to 1",
        ):
            list(read_tsv(file, 0, number))


def test_tsv_with_a_short_line(tmp_path):
    file = write(tmp_path / "a.tsv", "s\tt\na\tB\nc D\n")
    with pytest.raises(
        ValueError,
        match=r"a\.tsv:3 has no field 1, counted from 0, but 1 in all: put one tab between",
    ):
        list(read_tsv(file, "s", "t"))


def test_jsonl_with_one_or_several_targets(tmp_path):
    file = write(
        tmp_path / "a.jsonl", '{"s": "a", "t": "B"}\n \n{"t": ["C", "D"], "s": "", "x": 1}\n'
    )
    assert list(read_jsonl(file, "s", "t")) == [Pair("a", ("B",)), Pair("", ("C", "D"))]


@given(rows=st.lists(st.tuples(st.text(), st.lists(st.text(), min_size=1)), min_size=1))
def test_jsonl_comes_back_or_has_half_a_character(folder, rows):
    content = "".join(json.dumps({"s": source, "t": targets}) + "\n" for source, targets in rows)
    file = write(folder / "a.jsonl", content)
    try:
        content = "".join(source + "".join(targets) for source, targets in rows)
        content.encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="half of a surrogate pair as character"):
            list(read_jsonl(file, "s", "t"))
    else:
        assert list(read_jsonl(file, "s", "t")) == [
            Pair(source, tuple(targets)) for source, targets in rows
        ]


@given(row=json_value)
def test_any_json_is_read_or_refused_in_one_sentence(folder, row):
    file = write(folder / "any.jsonl", json.dumps(row))
    try:
        pairs = list(read_jsonl(file, "s", "t"))
    except ValueError as error:
        assert f"{file}:1" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert pairs[0].source == row["s"]


@given(content=st.text(st.sampled_from('{}[]":,\\u0 dest1.e\n\t')))
def test_any_text_is_read_or_refused_in_one_sentence(folder, content):
    file = write(folder / "any.jsonl", content)
    for reader in (read_jsonl, read_tsv, read_csv):
        try:
            assert all(isinstance(pair, Pair) for pair in reader(file, "s", "t"))
        except ValueError as error:
            assert file in str(error)  # noqa: PT017 - either outcome is right


WRONG_ROWS = {
    '{"s": "a"': r"a\.jsonl:2 is not JSON \(.*\): write one object on each line",
    "[" * 100_000: r"a\.jsonl:2 is not JSON",
    '["a", "B"]': r"a\.jsonl:2 is a JSON list: write one object on each line",
    '{"s": "a", "target": "B"}': r"a\.jsonl:2 has no key 't'; known: s, target",
    '{"source": "a", "t": "B"}': r"a\.jsonl:2 has no key 's'; known: source, t",
    '{"s": 1, "t": "B"}': r"the source of .*a\.jsonl:2 is of type int: give text",
    '{"s": "a", "t": ["B", null]}': r"the target of .*a\.jsonl:2 is of type NoneType: give text",
    '{"s": "a", "t": []}': r"the target of .*a\.jsonl:2 is an empty list: give at least one text",
    '{"s": "ab\\ud800", "t": "B"}': r"source of .*:2 has half of a surrogate pair as character 3",
}


@pytest.mark.parametrize("row", WRONG_ROWS, ids=lambda row: row[:20])
def test_wrong_json_lines(tmp_path, row):
    file = write(tmp_path / "a.jsonl", '{"s": "a", "t": "B"}\n' + row)
    with pytest.raises(ValueError, match=WRONG_ROWS[row]):
        list(read_jsonl(file, "s", "t"))


def test_numbers_in_json_are_targets_as_they_are_written(tmp_path):
    rows = '{"s": "a", "t": 3}\n{"s": "b", "t": -0.25}\n{"s": "c", "t": [1, "x"]}'
    found = list(read_jsonl(write(tmp_path / "a.jsonl", rows), "s", "t"))
    assert found == [Pair("a", ("3",)), Pair("b", ("-0.25",)), Pair("c", ("1", "x"))]
    file = write(tmp_path / "b.jsonl", '{"s": "a", "t": true}')
    with pytest.raises(ValueError, match=r"the target of .* is of type bool: give text"):
        list(read_jsonl(file, "s", "t"))


def test_json_columns_have_no_numbers(tmp_path):
    data = TableData(
        kind="jsonl", train=write(tmp_path / "a.jsonl", '{"s": "a", "t": "B"}'), source=0
    )
    with pytest.raises(
        ValueError,
        match=r"JSON lines have named values: give 'source' and 'target' in \[data\] as text",
    ):
        read(data, "train")


def test_a_second_text(tmp_path):
    expected = [Pair("a", ("B",), "c")]
    for kind, text in {
        "tsv": "s\tu\tt\na\tc\tB\n",
        "csv": 's,u,t\na,c,"B"\n',
        "jsonl": '{"s": "a", "t": "B", "u": "c"}',
    }.items():
        file = write(tmp_path / kind, text)
        data = TableData(kind=kind, train=file, source="s", target="t", second="u")
        assert list(read(data, "train")) == expected


def test_a_second_text_that_is_not_there(tmp_path):
    file = write(tmp_path / "a.jsonl", '{"s": "a", "t": "B", "u": null}')
    with pytest.raises(ValueError, match=r"the second text of .*:1 is of type NoneType: give text"):
        list(read_jsonl(file, "s", "t", "u"))
    with pytest.raises(ValueError, match=r"a\.jsonl:1 has no key 'v'; known: s, t, u"):
        list(read_jsonl(file, "s", "t", "v"))


@given(
    rows=st.lists(st.tuples(*[st.text(st.sampled_from('ab,;"é \n'))] * 2).filter(any), min_size=1)
)
def test_csv_comes_back(folder, rows):
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("s", "t"), *rows])
    found = list(read_csv(str(folder / "a.csv"), "s", "t"))
    assert found == [Pair(source, (target,)) for source, target in rows]


def test_several_labels_in_a_field(tmp_path):
    file = write(tmp_path / "a.tsv", 'a\t["X", "Y"]\nb\t["X"\nc\t["X", 1, "Y"]\nd\t[]\n')
    assert [pair.targets for pair in read_tsv(file, 0, 1)] == [
        ("X", "Y"),
        ('["X"',),
        ('["X", 1, "Y"]',),
        ("[]",),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c", r"a\.csv:3 has no field 1, counted from 0, but 1 in all: quote fields with commas"),
        ('"c"d,e', r"a\.csv:3 is not CSV \(.*\): put a field with quotes into quotes"),
        ('"c,d', r"a\.csv:3 is not CSV \(.*\): put a field with quotes into quotes"),
    ],
)
def test_wrong_csv(tmp_path, row, message):
    file = write(tmp_path / "a.csv", f"s,t\na,B\n{row}\n")
    with pytest.raises(ValueError, match=message):
        list(read_csv(file, "s", "t"))
