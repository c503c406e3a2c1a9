"""Cached kernels are taken from the disk, but never when a source they came from has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from maps.compiled import hash_sources

ROOT = Path(__file__).resolve().parents[2]
CALLER = """
from maps.compiled import cached_njit
from {middle} import twice

@cached_njit()
def kernel(x):
    return twice(x) + 1
"""
MIDDLE = """
from maps.compiled import cached_njit
from {helper} import FACTOR

@cached_njit()
def twice(x):
    return FACTOR * x
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Import the caller as a new process would: nothing but the files remembers the last time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [f"compiled_{part}_of_a_test" for part in ("caller", "middle", "helper")]
    caller, middle, helper = names
    (tmp_path / f"{caller}.py").write_text(CALLER.format(middle=middle))
    (tmp_path / f"{middle}.py").write_text(MIDDLE.format(helper=helper))

    def start(factor: int) -> ModuleType:
        file = tmp_path / f"{helper}.py"
        if not file.exists() or file.read_text() != f"FACTOR = {factor}\n":
            file.write_text(f"FACTOR = {factor}\n")
        for name in names:
            sys.modules.pop(name, None)
        hash_sources.cache_clear()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return __import__(caller)

    yield start
    for name in names:
        sys.modules.pop(name, None)


def test_a_change_two_files_away_is_noticed(load) -> None:
    assert load(2).kernel(5) == 11
    assert load(3).kernel(5) == 16


def test_unchanged_sources_are_not_compiled_again(load) -> None:
    load(2).kernel(5)
    again = load(2).kernel
    assert again(5) == 11
    assert sum(again.stats.cache_hits.values()) == 1
    assert not again.stats.cache_misses


def test_kernels_in_another_folder_of_the_package_count_too(tmp_path: Path) -> None:
    caller, helper, other = (tmp_path / "inner" / name for name in ("a/x.py", "b/y.py", "b/z.py"))
    for file in (caller, helper, other):
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
    (tmp_path / "inner" / "__init__.py").touch()
    caller.write_text("from inner.b.y import twice\nfrom inner.b import z\n")

    def hashed(kernel: str, plain: str) -> str:
        helper.write_text(f"from maps.compiled import cached_njit\n{kernel}\n")
        other.write_text(f"{plain}\n")
        hash_sources.cache_clear()
        return hash_sources(caller)

    assert hashed("A = 1", "B = 1") == hashed("A = 1", "B = 2")
    assert hashed("A = 1", "B = 1") != hashed("A = 2", "B = 1")


def test_one_line_says_that_numba_compiles_and_only_where_it_does(tmp_path: Path) -> None:
    program = "import robots.kernels; from maps.grid import kernels"
    command = [sys.executable, "-c", program]
    said = [
        subprocess.run(
            command,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stderr  # fmt: skip
        for _ in range(2)
    ]
    assert said[0].startswith("compiling for this processor, robots.kernels first")
    assert said[0].count("\n") == 1
    assert said[1] == ""


def test_the_interpreters_lock_is_released(load) -> None:
    assert load(2).kernel.targetoptions["nogil"]
