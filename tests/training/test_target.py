"""Where answers go is settled at the start; what is no file is never replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sublayer.training import target as module
from sublayer.training.target import STDIN, Target, is_pipe, replaceable


@pytest.fixture
def status(monkeypatch):
    """Has every path lead to something of a kind, without there being one to do harm to."""
    real = module._status

    def lead(kind: int) -> None:
        made = SimpleNamespace(st_mode=kind, st_ino=-1, st_dev=-1)
        monkeypatch.setattr(
            module, "_status", lambda what: real(what) if isinstance(what, int) else made
        )

    return lead


def test_nothing_and_a_new_file(tmp_path):
    assert Target.of(None, None) == Target()
    assert Target.of(tmp_path / "new.txt", None) == Target(file=tmp_path / "new.txt")


def test_a_link_means_what_it_points_to(tmp_path):
    link, file = tmp_path / "link.txt", tmp_path / "file.txt"
    link.symlink_to("file.txt")
    for _ in range(2):  # not there, and there
        assert Target.of(link, None) == Target(file=file)
        file.touch()
    with pytest.raises(ValueError, match=r"link\.txt is both input and output"):
        Target.of(link, file)
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links"):
        Target.of(link, None)


def test_the_input_is_not_replaced(tmp_path, monkeypatch):
    file = tmp_path / "same.txt"
    file.write_text("a\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"same\.txt is both input and output: name another"):
        Target.of(file.relative_to(tmp_path), file)
    real = module._status
    monkeypatch.setattr(module, "_status", lambda what: real(file if what == STDIN else what))
    with pytest.raises(ValueError, match="both input and output"):
        Target.of(file, None)
    assert Target.of(file, tmp_path / "other.txt") == Target(file=file)


def test_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path, "", "."):
        with pytest.raises(ValueError, match="is a folder: name a file in it with --output"):
            Target.of(tmp_path / name, None)


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFIFO])
def test_pipes_and_devices_are_written_to(status, tmp_path, kind):
    status(kind)
    assert Target.of(tmp_path / "x", None) == Target(pipe=tmp_path / "x")
    with pytest.raises(ValueError, match="no file that can be replaced"):
        replaceable(tmp_path / "x")


@pytest.mark.parametrize("kind", [stat.S_IFBLK, stat.S_IFSOCK])
def test_disks_and_sockets_are_refused(status, tmp_path, kind):
    status(kind)
    with pytest.raises(ValueError, match="or leave --output out and send stdout there"):
        Target.of(tmp_path / "x", None)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files have no names here")
def test_open_files_by_their_numbers_are_not_replaced(tmp_path):
    with (tmp_path / "file.txt").open("wb") as file:
        assert is_pipe(module.Path(f"/proc/self/fd/{file.fileno()}"))
    assert not is_pipe(tmp_path / "file.txt")


def test_what_stdout_is_sent_to_is_stdout(tmp_path):
    file = tmp_path / "log.txt"
    file.write_text("before\n")
    program = (
        "import sys; from pathlib import Path; from sublayer.training.target import Target\n"
        "print(Target.of(Path(sys.argv[1]), None) == Target())"
    )
    with file.open("ab") as stdout:
        subprocess.run([sys.executable, "-c", program, file], stdout=stdout, check=True)
    assert file.read_text() == "before\nTrue\n"


def test_a_stdout_that_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STDOUT", 1 << 20)
    assert module._status(module.STDOUT) is None
    assert Target.of(tmp_path / "a", None) == Target(file=tmp_path / "a")


def test_an_error_in_writing_names_the_pipe(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").touch()
    with Target(pipe=tmp_path / "file").stream() as write:
        write(b"ab")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as caught:
            write(b"cd")
        monkeypatch.undo()
    assert caught.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"ab"
