"""Scenes and episodes, prepared ahead of need: which scene comes next, loaded once, kept while used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from embodied.simulators.base import AgentSpec, Scene
from embodied.simulators.embedded import World
from embodied.simulators.pathfinder import DistanceField
from embodied.tasks.config import NavigationConfig, SceneSource
from embodied.tasks.episodes import Episode, draw_episode, field_of
from embodied.tasks.goals import GoalIndex


@dataclass(frozen=True)
class Plan:
    """Which episode to prepare: scene number, the seed it is drawn with, its number in the stream."""

    scene: int
    seed: tuple[int, ...]
    number: int


@dataclass(frozen=True, eq=False)
class Prepared:
    """An episode ready to play."""

    world: World
    episode: Episode
    distances: DistanceField | None
    number: int


class SceneList:
    """The scenes of a source by number, loaded on demand, least recently used dropped. Thread-safe."""

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
            self._loaders = [_file_loader(path) for path in by_scene]
        elif source.files:
            self._loaders = [_file_loader(path) for path in source.files]
        else:
            from embodied.simulators.houses import split_seeds

            seeds = split_seeds(source.split, source.count, source.offset)
            self._loaders = [_house_loader(seed, source) for seed in seeds]

    def __len__(self) -> int:
        return len(self._loaders)

    def world(self, number: int) -> World:
        """Return a scene, loading it if needed; two threads asking at once load it once."""
        with self._lock:
            future = self._worlds.get(number)
            owner = future is None
            if future is None:
                future = self._worlds[number] = Future()
            self._worlds.move_to_end(number)
            while len(self._worlds) > self._limit:
                self._worlds.popitem(last=False)
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


class EpisodeStream:
    """The episodes one environment plays, one after another, the next one prepared ahead.

    Args:
        config: the task.
        scenes: shared between the environments of a batch.
        index: shared view points.
        pool: background thread, or None to prepare in the caller's thread.
        slot, slots: this environment's number and their total (sequential order deals them out).
    """

    def __init__(
        self,
        config: NavigationConfig,
        scenes: SceneList,
        index: GoalIndex,
        pool: ThreadPoolExecutor | None,
        slot: int = 0,
        slots: int = 1,
    ) -> None:
        self._config, self._scenes, self._index, self._pool = config, scenes, index, pool
        self._slot, self._slots = slot, slots
        self._plans: Iterator[Plan] = iter(())
        self._next: Future[Prepared] | None = None

    def restart(self, seed: int) -> None:
        """Begin the stream of a seed."""
        if self._next is not None:
            self._next.cancel()
        source = self._config.scene
        self._plans = self._listed() if source.sequential else self._random(seed)
        self._next = self._start()

    def take(self) -> Prepared:
        """Return the next episode.

        Raises:
            NavigationError: the scene cannot hold such an episode.
            SceneError: the scene cannot be loaded.
        """
        if self._next is None:
            raise RuntimeError("restart() comes first")
        ready = self._next.result()
        self._next = self._start()
        return ready

    def _start(self) -> Future[Prepared]:
        plan = next(self._plans)
        if self._pool is not None:
            return self._pool.submit(self._prepare, plan)
        lazy: _Lazy = _Lazy(lambda: self._prepare(plan))
        return lazy

    def _prepare(self, plan: Plan) -> Prepared:
        world = self._scenes.world(plan.scene)
        rng = np.random.default_rng(plan.seed)
        if self._scenes.episodes:
            listed = self._scenes.episodes[plan.scene]
            episode = listed[plan.seed[-1] % len(listed)]
            return Prepared(world, episode, field_of(world, episode), plan.number)
        episode, distances = draw_episode(world, self._config, self._index, rng)
        return Prepared(world, episode, distances, plan.number)

    def _random(self, seed: int) -> Iterator[Plan]:
        rng = np.random.default_rng(seed)
        number = 0
        while True:
            scene = int(rng.integers(len(self._scenes)))
            for _ in range(self._config.scene.episodes_per_scene):
                yield Plan(scene, (int(rng.integers(2**31)),), number)
                number += 1

    def _listed(self) -> Iterator[Plan]:
        if self._scenes.episodes:
            order = [
                (scene, k)
                for scene, some in enumerate(self._scenes.episodes)
                for k in range(len(some))
            ]
        else:
            order = []
        number = self._slot
        while True:
            if order:
                scene, k = order[number % len(order)]
                yield Plan(scene, (k,), number)
            else:
                yield Plan(number % len(self._scenes), (0, number), number)
            number += self._slots


class _Lazy(Future):
    """A future that computes on the first call of result()."""

    def __init__(self, compute: Callable[[], Prepared]) -> None:
        super().__init__()
        self._compute = compute

    def result(self, timeout: float | None = None) -> Prepared:
        if not self.done():
            self.set_result(self._compute())
        return super().result(timeout)


def _file_loader(path: str) -> Callable[[], Scene]:
    def load() -> Scene:
        from embodied.simulators.scenes import load_scene

        return load_scene(path)

    return load


def _house_loader(seed: int, source: SceneSource) -> Callable[[], Scene]:
    def load() -> Scene:
        from embodied.simulators.houses import generate_house

        return generate_house(
            seed, rooms=source.rooms, textures=source.textures, floors=source.floors
        )

    return load
