from __future__ import annotations

import gzip

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublayer.data.vectors import read_vectors, write_vectors

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    table=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=FINITE
    )
)
def test_there_and_back_is_exact(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("vectors") / "a.vec"
    words = [f"w{i}" for i in range(len(table))]
    write_vectors(path, words, table)
    again, vectors = read_vectors(path)
    assert again == words
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, table)


def test_the_file_is_as_word2vec_writes_it(tmp_path):
    path = tmp_path / "a.vec"
    write_vectors(path, ["the", "näh"], np.array([[1, 0.1], [-2.5, 1e-8]], np.float32))
    assert path.read_text(encoding="utf-8") == "2 2\nthe 1.0 0.1\nnäh -2.5 1e-08\n"


def test_gensim_loads_it(tmp_path):
    models = pytest.importorskip("gensim.models")
    table = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    words = [f"w{i}" for i in range(20)]
    write_vectors(tmp_path / "a.vec", words, table)
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "a.vec"))
    assert theirs.index_to_key == words
    np.testing.assert_array_equal(theirs.vectors, table)
    theirs.save_word2vec_format(str(tmp_path / "b.vec"))
    again, vectors = read_vectors(tmp_path / "b.vec")
    assert again == words
    np.testing.assert_array_equal(vectors, table)


def test_without_a_first_line_with_spaces_at_ends_and_in_words_and_packed(tmp_path):
    path = tmp_path / "glove.txt.gz"
    path.write_bytes(gzip.compress(b"the 1 2 3 \n. . . 4 5 6\nof\t7\t8\t9\nthe 0 0 0\n"))
    words, vectors = read_vectors(path)
    assert words == ["the", ". . .", "of"]
    np.testing.assert_array_equal(vectors, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 2\na 1 2\nb 1\n", r"a\.vec:3 has 1 numbers behind the word, not 2: copy"),
        ("a 1 2\nb 1 x\n", r"a\.vec:2 is no word with 2 finite numbers: copy"),
        ("1 2\na 1 nan\n", r"a\.vec:2 is no word with 2 finite numbers"),
        ("1 2\na 1e39 0\n", r"a\.vec:2 is no word with 2 finite numbers"),
        ("3 2\na 1 2\nb 1 2\n", r"a\.vec has 2 vectors, its first line tells of 3: copy"),
        ("a\nb\n", r"a\.vec:1 is no word with its vector: give a file of"),
        ("", r"a\.vec is empty"),
    ],
)
def test_what_is_no_file_of_vectors(tmp_path, text, message):
    (tmp_path / "a.vec").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_vectors(tmp_path / "a.vec")


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        read_vectors(tmp_path / "a.vec")


@pytest.mark.parametrize("word", ["", "a b", "a\n", "\u2028"])
def test_words_that_could_not_be_read_again(tmp_path, word):
    with pytest.raises(ValueError, match="is empty or has white space: leave it out"):
        write_vectors(tmp_path / "a.vec", [word], np.zeros((1, 2), np.float32))
