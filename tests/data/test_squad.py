"""Questions about texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.config.data import SquadData
from sublayer.data.example import Question
from sublayer.data.source import read
from sublayer.data.squad import read_squad

CONTEXT = "The door is red."
RED = {"text": "red", "answer_start": 12}
ROW = {"question": "Which colour?", "answers": [RED, RED, {"text": "door", "answer_start": 4}]}
NONE = {"question": "How old?", "answers": [], "is_impossible": True}


def squad(*rows) -> str:
    return json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": rows}]}]})


def write(path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_squad(tmp_path):
    data = SquadData(kind="squad", train=write(tmp_path / "a.json", squad(ROW, NONE)))
    assert list(read(data, "train")) == [
        Question("Which colour?", CONTEXT, ((12, "red"), (4, "door"))),
        Question("How old?", CONTEXT, ()),
    ]


def test_json_lines(tmp_path):
    columns = {"text": ["red"], "answer_start": [12]}
    rows = [ROW, {**ROW, "answers": columns}, {"question": "How old?"}]
    text = "\n".join(json.dumps({**row, "context": CONTEXT}) for row in rows)
    assert [q.answers for q in read_squad(write(tmp_path / "a.jsonl", text))] == [
        ((12, "red"), (4, "door")),
        ((12, "red"),),
        (),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"a\.json is not JSON \(.*\): fetch it again, or call it \.jsonl"),
        ("[]", r"a\.json has no list 'data': give SQuAD's JSON"),
        ('{"data": [{}]}', r"data\[0\] of .*a\.json has no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [1]}]}', r"data\[0\]\.paragraphs\[0\] of .* no list 'qas'"),
        (squad(1), r"data\[0\]\.paragraphs\[0\]\.qas\[0\] of .*a\.json is no object"),
        (squad(ROW, {}), r"qas\[1\] of .*a\.json has no 'question' that is text: give it one"),
        (
            squad({"question": "?", "answers": [{"text": "red"}]}),
            r"the answers of .*qas\[0\] of .* are not 'text' and 'answer_start' of each",
        ),
        (
            squad({"question": "?", "answers": [{"text": "red", "answer_start": 11}]}),
            r"an answer of .* does not stand at character 11 of its context: 'red'; correct",
        ),
    ],
)
def test_mistakes(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        list(read_squad(write(tmp_path / "a.json", content)))


def test_a_line_without_context(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jsonl:1 has no 'context' that is text"):
        list(read_squad(write(tmp_path / "a.jsonl", json.dumps(ROW))))


json_value = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["question", "context", "answers", "text", "answer_start"]), inner
        )
    ),
)


@given(row=json_value)
def test_any_json_is_read_or_refused_in_one_sentence(tmp_path_factory, row):
    file = write(tmp_path_factory.getbasetemp() / "any.jsonl", json.dumps(row))
    try:
        list(read_squad(file))
    except ValueError as error:
        assert file in str(error)  # noqa: PT017 - either outcome is right
