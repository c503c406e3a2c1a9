"""Scenes are loaded once, whoever asks, and the least recently used make room."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from embodied.errors import SceneError
from embodied.simulators.base import AgentSpec, Scene
from embodied.tasks.navigation.config import SceneSource
from embodied.tasks.navigation.sources import SceneList
from tests.tasks.conftest import build_flat


@pytest.fixture
def files(flat_file: str, tmp_path: Path) -> tuple[str, ...]:
    return tuple(str(shutil.copy(flat_file, tmp_path / f"flat{k}.ply")) for k in range(3))


def scenes(files: tuple[str, ...], cached: int) -> SceneList:
    return SceneList(SceneSource(files=files, cached_scenes=cached), AgentSpec())


def test_the_least_recently_used_scene_makes_room(files: tuple[str, ...]) -> None:
    some = scenes(files, cached=2)
    first, second = some.load_world(0), some.load_world(1)
    assert some.load_world(0) is first  # now 1 is the oldest
    some.load_world(2)
    assert some.load_world(0) is first
    assert some.load_world(1) is not second


def test_many_threads_load_a_scene_once(files: tuple[str, ...]) -> None:
    some = scenes(files, cached=1)
    everyone, loads = threading.Barrier(6), []

    def slow(number: int) -> Scene:
        loads.append(number)
        time.sleep(0.5)  # all have asked by now
        return build_flat()

    some._loaders = [partial(slow, k) for k in range(3)]

    def ask(number: int) -> object:
        everyone.wait()
        return some.load_world(number)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, [0, 1, 2] * 2))
    # More than fit into the cache, but a scene being loaded is not given up for another.
    assert [found[k] is found[k + 3] for k in range(3)] == [True] * 3
    assert sorted(loads) == [0, 1, 2]


def test_a_scene_that_failed_is_tried_again(files: tuple[str, ...], tmp_path: Path) -> None:
    late = tmp_path / "late.ply"
    some = scenes((str(late),), cached=2)
    for _ in range(2):
        with pytest.raises(SceneError, match="late"):
            some.load_world(0)
    shutil.copy(files[0], late)
    assert some.load_world(0) is some.load_world(0)
