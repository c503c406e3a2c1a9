"""What an agent is trained on: episodes, the worlds held out for validation, and walkers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.perception.vocabulary import Vocabulary
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.source import VLNSource, load_source
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.vln.config import VLNTrainConfig


class WalkerBatch(VLNBatch):
    """A batch of agents that training moves along whole paths, one row at a time."""

    def set_goals(self, row: int, goals: Sequence[int]) -> None:
        """Let the expert of a running episode lead to other places than the episode's own."""
        self._goal[row] = self._world[row].distances[:, list(goals)].min(axis=1)

    def get_world(self, row: int) -> Any:
        """Return the graph world an agent is in."""
        return self._world[row]

    def walk_path(self, row: int, places: Iterable[int]) -> None:
        """Walk one agent over neighbouring places; an empty path leaves it where it is."""
        for place in places:
            candidates = self._packed[row].candidates
            self._walk(row, 1 + int(np.flatnonzero(candidates == place)[0]))


class TrainingData:
    """Episodes of the training split, divided by world into those learnt from and those held out.

    Args:
        config: of the run.

    Attributes:
        source: worlds and the episodes learnt from.
        held_out_source: worlds held out and all their episodes; no episodes if none are held out.
        validation_source: those of these episodes that validation plays.
        vocabulary: words of the instructions learnt from and of the objects in their worlds.
        observation_space: of one environment.
        validation: the environments that validation plays in, once there are any.

    Raises:
        ConfigError: nothing is left to learn from.
        SceneError, NavigationError: missing or bad data.
    """

    def __init__(self, config: VLNTrainConfig) -> None:
        self.config = config
        self.task = dataclasses.replace(
            config.task, split="train", canvas=False, oracle_canvas=False, privileged=True
        )
        worlds, episodes = load_source(self.task)
        names = sorted({episode.world for episode in episodes})
        kept_out = set(names[len(names) - config.validation.worlds :])
        if len(kept_out) >= len(names):
            raise ConfigError(
                f"validation.worlds = {config.validation.worlds} leaves none of the {len(names)} "
                "worlds of the training split to learn from"
            )
        self.source = VLNSource(worlds, [e for e in episodes if e.world not in kept_out])
        self.held_out_source = VLNSource(worlds, [e for e in episodes if e.world in kept_out])
        played = select_evenly(self.held_out_source.episodes, config.validation.episodes)
        self.validation_source = VLNSource(worlds, played)
        self.validation: VLNVectorEnv | None = None
        self._walkers: dict[int, WalkerBatch] = {}
        first = self.get_walkers(1)
        self.observation_space = first.observation_space
        self.vocabulary = Vocabulary.from_texts([*self._instructions(), *self._names(first)])

    def get_walkers(self, count: int) -> WalkerBatch:
        """Return a batch of agents; the same object for the same count, its episodes over."""
        if count not in self._walkers:
            made = WalkerBatch(self.task, count, self.source)
            if self._walkers:  # one table of packed places for all
                made.place_table = next(iter(self._walkers.values())).place_table
            self._walkers[count] = made
        return self._walkers[count]

    def draw_episodes(self, update: int, count: int) -> list[int]:
        """Return the numbers of the episodes of an update: every one once before any twice.

        The same for the same seed and update, however often a run is resumed.
        """
        total = len(self.source.episodes)
        chosen: list[int] = []
        position = update * count
        while len(chosen) < count:
            epoch, offset = divmod(position, total)
            order = np.random.default_rng([self.config.seed, epoch, 17]).permutation(total)
            taken = order[offset : offset + count - len(chosen)].tolist()
            chosen += taken
            position += len(taken)
        return chosen

    def get_episode(self, number: int) -> VLNEpisode:
        """Return an episode learnt from."""
        return self.source.episodes[number]

    def _instructions(self) -> list[str]:
        return [episode.instruction for episode in self.source.episodes]

    def _names(self, walkers: WalkerBatch) -> list[str]:
        """Names of all objects in the worlds learnt from, each as often as it is seen."""
        found: list[str] = []
        for name in sorted({episode.world for episode in self.source.episodes}):
            world = self.source.worlds[name]
            for place in range(len(world)):
                found += walkers.place_table.get_place(world, place).names
        return found


def select_evenly(episodes: list[VLNEpisode], count: int) -> list[VLNEpisode]:
    """Return at most `count` episodes, taken evenly; 0 returns all."""
    if not count or count >= len(episodes):
        return episodes
    rows = np.linspace(0, len(episodes) - 1, count).round().astype(int)
    return [episodes[i] for i in rows]
