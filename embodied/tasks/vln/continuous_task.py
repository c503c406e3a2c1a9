"""Settings of language-guided navigation with low-level actions, and where its houses come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_INDEX
from embodied.errors import ConfigError
from embodied.simulators.base import AgentSpec, Scene
from embodied.simulators.embedded import World
from embodied.simulators.graph import GraphWorld
from embodied.simulators.house_builder import PanoramaSpec, format_object_name, is_listable
from embodied.simulators.house_graph import HouseWorld
from embodied.tasks.vln import source
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.houses import list_house_sources


@dataclass(frozen=True)
class ContinuousTaskConfig:
    """One task with low-level actions.

    Attributes:
        task: houses, split and instructions; `max_steps` and sizes of the graph do not matter.
        agent: body and step lengths. Its shape must be that of the graph task's agent.
        max_steps: an episode is cut off after so many actions.
        goal_distance: walking distance from a goal place within which STOP succeeds [m].
        expert: add "expert_action", the shortest-path follower's; never for an agent.
        success_reward: for a successful end; besides, each metre of progress earns 1.
        cached_scenes: houses kept in memory beyond those in use.
    """

    task: VLNConfig = field(default_factory=lambda: VLNConfig(dataset="houses"))
    agent: AgentSpec = field(default_factory=lambda: AgentSpec(turn=15.0))
    max_steps: int = 500
    goal_distance: float = 1.0
    expert: bool = False
    success_reward: float = 2.5
    cached_scenes: int = 8

    def __post_init__(self) -> None:
        if self.task.dataset != "houses":
            raise ConfigError(
                f"task.dataset = '{self.task.dataset}': low-level actions need houses, the other "
                "data sets have no meshes here"
            )
        if self.task.houses.semantics != "ground_truth":
            raise ConfigError(
                f"houses.semantics = '{self.task.houses.semantics}': low-level actions come with "
                "the simulator's semantics only; set ground_truth"
            )
        for name in ("max_steps", "cached_scenes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if not self.goal_distance > 0:
            raise ConfigError(f"goal_distance = {self.goal_distance} m must be positive")

    @property
    def panorama(self) -> PanoramaSpec:
        """The camera, as in the graph task."""
        houses = self.task.houses
        return PanoramaSpec(height=houses.height, width=houses.width, reach=houses.reach)


@dataclass(frozen=True, eq=False)
class ContinuousHouse:
    """A house with what is looked up at every step.

    Attributes:
        world: scene, navigable area and ray caster.
        graph: the places of the graph task.
        rows: (classes,) row of the category canvas of each class of the scene, -1 for none.
        names: of each object of the scene, "" for parts of the building.
    """

    world: World
    graph: HouseWorld
    rows: NDArray[np.int64]
    names: tuple[str, ...]


class ContinuousSource(NamedTuple):
    """Graph worlds and episodes of a split, and the scene behind a world's name."""

    worlds: Mapping[str, GraphWorld]
    episodes: list[VLNEpisode]
    scene: Callable[[str], Scene]

    def open_house(self, name: str, agent: AgentSpec) -> ContinuousHouse:
        """Open a house for a body.

        Raises:
            ConfigError: the world has no scene behind it.
        """
        scene, graph = self.scene(name), self.worlds[name]
        if not isinstance(graph, HouseWorld):
            raise ConfigError(f"world '{name}' is a {type(graph).__name__}; a house is needed")
        rows = np.array([SOS_INDEX.get(c, -1) for c in scene.categories], np.int64)
        names = tuple(
            format_object_name(o.name, o.category) if i and is_listable(o.category) else ""
            for i, o in enumerate(scene.objects)
        )
        return ContinuousHouse(World(scene, agent), graph, rows, names)


def load_continuous_source(config: ContinuousTaskConfig) -> ContinuousSource:
    """Open the houses and episodes of a task.

    Raises:
        ConfigError, SceneError, NavigationError: see `embodied.tasks.vln.houses.load_houses`.
    """
    scenes = {s.name: s.load for s in list_house_sources(config.task.houses, config.task.split)}
    worlds, episodes = source.load_source(config.task)
    return ContinuousSource(worlds, episodes, lambda name: scenes[name]())
