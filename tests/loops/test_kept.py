"""Machine code that is kept: used as it was written, made anew where it is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sublayer.loops import kept

pytestmark = pytest.mark.skipif(not kept.is_possible(), reason="no processor for it")


@pytest.fixture(scope="module")
def code():
    """A file of it."""
    if kept.kept_search() is None:
        kept.made_search()
    return next(f for f in kept._files(kept._numba()) if f.exists()).read_bytes()


@pytest.fixture
def file(code, tmp_path, monkeypatch):
    """Where it is looked for."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (file,) = kept._files(kept._numba())
    file.write_bytes(code)
    return file


def test_it_is_used_without_numba(file):
    told = "import sys; from sublayer.loops.kept import kept_search; s = kept_search();"
    told += "print(s is not None, 'numba' in sys.modules, 'torch' in sys.modules);"
    told += "import numba; print(numba.njit(lambda x: [x, x])(3))"  # which still works behind it
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "True False False\n[3, 3]\n"


def test_what_was_changed_is_not_used(file, code):
    assert kept.kept_search() is not None
    name, digest, rest = code.split(b"\n", 2)
    for broken in (
        b"",
        code[:100],
        code[:-1],
        code[:-1] + bytes([code[-1] ^ 1]),
        b"\n".join([name, b"0" * 64, rest]),
        b"\n".join([b"no_such_function", digest, rest]),
    ):
        file.write_bytes(broken)
        assert kept.kept_search() is None
    file.unlink()
    assert kept.kept_search() is None


def test_other_loops_or_another_processor_have_another_name(file, monkeypatch, tmp_path):
    (tmp_path / "a.py").touch()
    with monkeypatch.context() as patch:
        patch.setattr(kept, "__file__", str(tmp_path / "kept.py"))
        assert kept._files(kept._numba()) != [file]
    monkeypatch.setattr(kept.binding, "get_host_cpu_name", lambda: "another")
    assert kept._files(kept._numba()) != [file]


def test_where_it_cannot_be_kept_it_goes_to_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = kept._files(kept._numba())
    assert second.parent == tmp_path / "sublayer"
    write, tried = kept.atomic_write, []

    def refuses(path, content):
        tried.append(path)
        if path == first:
            raise PermissionError(13, "no", str(path))
        write(path, content)

    monkeypatch.setattr(kept, "atomic_write", refuses)
    assert kept.made_search() is not None
    assert tried == [first, second]
    assert second.exists()


def test_who_told_numba_of_another_processor_goes_without(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert not kept.is_possible()
    monkeypatch.delenv("NUMBA_CPU_NAME")
    assert kept.is_possible()
    monkeypatch.setattr(kept.binding, "get_host_cpu_features", lambda: {"avx512vnni": False})
    assert not kept.is_possible()


def test_switches_of_numba_have_code_of_their_own(file, monkeypatch):
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert kept._files(kept._numba()) != [file]


def test_without_sources_or_a_home_it_is_kept_where_it_can_be(monkeypatch, tmp_path):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kept.os.path, "expanduser", str)
    assert [file.parent.name for file in kept._files(kept._numba())] == ["__pycache__"]
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "kept.pyc"))
    assert kept._files(kept._numba()) == []
    assert kept.kept_search() is None
