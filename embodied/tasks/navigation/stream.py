"""Which episode comes next in an environment, prepared ahead of need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from embodied.errors import NavigationError
from embodied.simulators.embedded import World
from embodied.simulators.pathfinder import DistanceField
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.episodes import Episode, build_distance_field, draw_episode
from embodied.tasks.navigation.goals import GoalIndex
from embodied.tasks.navigation.sources import SceneList

SCENE_TRIALS = 10
"""Scenes tried before a task is given up: one may lack the object, another be too small."""


@dataclass(frozen=True)
class EpisodePlan:
    """Which episode to prepare: scene number, seed to draw it with, number in the stream."""

    scene: int
    seed: tuple[int, ...]
    number: int


@dataclass(frozen=True, eq=False)
class PreparedEpisode:
    """An episode ready to play."""

    world: World
    episode: Episode
    distances: DistanceField | None
    number: int


class EpisodeStream:
    """The episodes one environment plays, one after another, the next one prepared ahead.

    Args:
        config: the task.
        scenes: shared between the environments of a batch.
        index: shared view points.
        pool: background thread, or None to prepare in the caller's thread.
        slot: this environment's number.
        slots: their total (sequential order deals episodes out to them).
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
        self._plans: Iterator[EpisodePlan] = iter(())
        self._next: Future[PreparedEpisode] | None = None

    def restart(self, seed: int) -> None:
        """Begin the stream of a seed."""
        if self._next is not None:
            self._next.cancel()
        source = self._config.scene
        self._plans = self._listed() if source.sequential else self._random(seed)
        self._next = self._start()

    def next_episode(self) -> PreparedEpisode:
        """Return the next episode; one that fails is skipped by the next call.

        Raises:
            NavigationError: the scene cannot hold such an episode.
            SceneError: the scene cannot be loaded.
        """
        if self._next is None:
            raise RuntimeError("restart() comes first")
        asked, self._next = self._next, self._start()
        return asked.result()

    def _start(self) -> Future[PreparedEpisode]:
        plan = next(self._plans)
        if self._pool is not None:
            return self._pool.submit(self._prepare, plan)
        lazy: _Lazy = _Lazy(lambda: self._prepare(plan))
        return lazy

    def _prepare(self, plan: EpisodePlan) -> PreparedEpisode:
        if self._scenes.episodes:
            world = self._scenes.load_world(plan.scene)
            listed = self._scenes.episodes[plan.scene]
            episode = listed[plan.seed[-1] % len(listed)]
            return PreparedEpisode(
                world, episode, build_distance_field(world, episode), plan.number
            )
        # A scene that cannot hold such an episode (no bed, one tiny room) hands over to the next.
        trials = min(SCENE_TRIALS, len(self._scenes))
        for trial in range(trials):
            world = self._scenes.load_world((plan.scene + trial) % len(self._scenes))
            rng = np.random.default_rng(plan.seed)
            try:
                episode, distances = draw_episode(world, self._config, self._index, rng)
            except NavigationError:
                if trial == trials - 1:
                    raise
                continue
            return PreparedEpisode(world, episode, distances, plan.number)
        raise NavigationError("a scene source needs at least one scene")

    def _random(self, seed: int) -> Iterator[EpisodePlan]:
        rng = np.random.default_rng(seed)
        number = 0
        while True:
            scene = int(rng.integers(len(self._scenes)))
            for _ in range(self._config.scene.episodes_per_scene):
                yield EpisodePlan(scene, (int(rng.integers(2**31)),), number)
                number += 1

    def _listed(self) -> Iterator[EpisodePlan]:
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
                yield EpisodePlan(scene, (k,), number)
            else:
                yield EpisodePlan(number % len(self._scenes), (0, number), number)
            number += self._slots


class _Lazy(Future):
    """A future that computes on the first call of result()."""

    def __init__(self, compute: Callable[[], PreparedEpisode]) -> None:
        super().__init__()
        self._compute = compute

    def result(self, timeout: float | None = None) -> PreparedEpisode:
        if not self.done():
            self.set_result(self._compute())
        return super().result(timeout)
