"""The scenes a task is played in: loaded once, kept while used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from embodied.simulators.base import AgentSpec, Scene
from embodied.simulators.embedded import World
from embodied.tasks.navigation.config import SceneSource
from embodied.tasks.navigation.episodes import Episode


class SceneList:
    """The scenes of a source by number, loaded on demand, the least recently used dropped."""

    def __init__(self, source: SceneSource, agent: AgentSpec) -> None:
        self._agent = agent
        self._limit = source.cached_scenes
        self._loaders: list[Callable[[], Scene]] = []
        self.episodes: list[list[Episode]] = []
        self._lock = threading.Lock()
        self._worlds: OrderedDict[int, Future[World]] = OrderedDict()
        if source.episodes:
            from embodied.tasks.datasets.habitat_episodes import load_episodes

            by_scene: dict[str, list[Episode]] = {}
            for episode in load_episodes(source.episodes, source.scenes_dir or None):
                by_scene.setdefault(episode.scene, []).append(episode)
            self.episodes = list(by_scene.values())
            self._loaders = [
                _file_loader(path, source.up or ("z" if path.endswith(".glb") else ""))
                for path in by_scene
            ]
        elif source.files:
            self._loaders = [_file_loader(path, source.up) for path in source.files]
        else:
            from embodied.simulators.houses import split_seeds

            seeds = split_seeds(source.split, source.count, source.offset)
            self._loaders = [_house_loader(seed, source) for seed in seeds]

    def __len__(self) -> int:
        return len(self._loaders)

    def load_world(self, number: int) -> World:
        """Return a scene, loading it if needed; two threads asking at once load it once."""
        with self._lock:
            future = self._worlds.get(number)
            owner = future is None
            if future is None:
                future = self._worlds[number] = Future()
            self._worlds.move_to_end(number)
            self._drop()
        if owner:
            try:
                world = World(self._loaders[number](), self._agent)
                _ = world.caster, world.pathfinder
                future.set_result(world)
            except BaseException as error:
                with self._lock:
                    self._worlds.pop(number, None)
                future.set_exception(error)
        return future.result()

    def _drop(self) -> None:
        """Forget the least recently used scenes over the limit, but none that is being loaded."""
        surplus = max(0, len(self._worlds) - self._limit)
        *others, _ = self._worlds.items()  # the last one was just asked for
        for number, _ in [item for item in others if item[1].done()][:surplus]:
            del self._worlds[number]


def _file_loader(path: str, up: str) -> Callable[[], Scene]:
    def load() -> Scene:
        from embodied.simulators.scenes import load_scene

        return load_scene(path, up=up or None)

    return load


def _house_loader(seed: int, source: SceneSource) -> Callable[[], Scene]:
    def load() -> Scene:
        from embodied.simulators.houses import generate_house

        return generate_house(
            seed, rooms=source.rooms, textures=source.textures, floors=source.floors
        )

    return load
