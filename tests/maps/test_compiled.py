"""Cached kernels are taken from the disk, but never when a source they came from has changed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from maps.compiled import hash_sources

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


def test_the_interpreters_lock_is_released(load) -> None:
    assert load(2).kernel.targetoptions["nogil"]
