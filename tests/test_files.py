"""A reader never meets a half-written file or folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from embodied.files import (
    UnwritableError,
    atomic_directory,
    atomic_write,
    ensure_folder,
    recover_directory,
    write_text,
)


def test_the_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result.json"
    with atomic_write(target) as temporary:
        temporary.write_text("{}")
        assert temporary.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "{}"
    assert list(target.parent.iterdir()) == [target]


def test_an_error_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    for generation in ("one", "two"):
        with atomic_directory(target) as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / generation).write_text(generation)
    assert [p.name for p in (target / "sub").iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    with atomic_directory(target) as temporary:
        (temporary / "x").write_text("old")

    def fail() -> None:
        with atomic_directory(target) as temporary:
            (temporary / "x").write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert (target / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_kill_between_the_two_renames_is_undone(tmp_path: Path) -> None:
    old = tmp_path / ".checkpoint.old"
    old.mkdir()
    (old / "x").write_text("kept")
    recover_directory(tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "x").read_text() == "kept"
    assert not old.exists()


def test_kill_9_while_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "data.txt"
    program = f"""
        from embodied.files import write_text
        for i in range(10**9):
            write_text({str(target)!r}, str(i % 10) * 200_000)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], env=environment
        )
        deadline = time.monotonic() + 20
        while not target.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = target.read_text()
        assert len(text) == 200_000
        assert len(set(text)) == 1


@pytest.mark.parametrize("name", ["file/sub", "file/sub/deeper"])
def test_a_folder_below_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="cannot write to the folder"):
        ensure_folder(tmp_path / name)


def test_a_read_only_place_is_refused() -> None:
    with pytest.raises(UnwritableError, match="cannot write to the folder /proc"):
        write_text("/proc/embodied/result.json", "{}")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match="it is a folder"):
        write_text(tmp_path, "{}")
