"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sublayer.config.files import atomic_folder, atomic_write, dump_json, load_json


def test_writes_text_and_bytes_into_new_folders(tmp_path):
    atomic_write(tmp_path / "a" / "b.txt", "größer\n")
    atomic_write(tmp_path / "a" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "größer\n".encode()
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\xff"
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["b.txt", "c.bin"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    atomic_write(tmp_path / "x", "old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "x", "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x", "old")]


def test_a_full_disk_is_told_with_path_and_free_space(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"x: not written, the disk is full \([\d.]+ MiB free\)"
    ) as caught:
        atomic_write(tmp_path / "x", "new")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_when_a_library_met_it_in_a_folder(tmp_path):
    with (
        pytest.raises(OSError, match="step: not written, the disk is full"),
        atomic_folder(tmp_path / "step"),
    ):
        raise RuntimeError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )
    assert not list(tmp_path.iterdir())


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "runs" / "step"
    with atomic_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("w")
        assert not target.exists()
    assert (target / "inner" / "weights").read_text() == "w"
    assert [file.name for file in target.parent.iterdir()] == ["step"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "step") as folder:
        (folder / "weights").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "step")
    assert (tmp_path / "step" / "weights").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["step"]


def test_a_folder_is_replaced_and_what_a_kill_left_is_swept_up(tmp_path):
    (tmp_path / ".step.partial").mkdir()
    (tmp_path / ".step.partial" / "half").write_text("h")
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "step") as folder:
            (folder / content).write_text(content)
    assert [file.name for file in (tmp_path / "step").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["step"]


def test_json_comes_back(tmp_path):
    value = {"value": 0.1, "text": "größer", "list": [1, None, True]}
    dump_json(value, tmp_path / "report.json")
    assert load_json(tmp_path / "report.json") == value
    assert "größer" in (tmp_path / "report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b'{"step": 1', b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_names_the_file(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"state\.json: not valid JSON, so it is damaged or half copied: "
    ):
        load_json(path)


def test_missing_json_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_json(tmp_path / "state.json")


def write_half(path: Path) -> None:
    with atomic_folder(path) as folder:
        (folder / "weights").write_text("new")
        raise KeyboardInterrupt


def interrupted(descriptor: int) -> None:
    raise KeyboardInterrupt


def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
