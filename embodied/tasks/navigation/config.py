"""What a navigation task is made of: scenes, body, camera, rewards. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from embodied.categories import MPCAT40
from embodied.errors import ConfigError, suggest_nearest
from embodied.simulators.base import AgentSpec, CameraSpec

TASKS = ("pointnav", "objectnav", "imagenav", "explore")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SceneSource:
    """Where episodes take place. `episodes` wins over `files`, `files` over the procedural houses.

    Attributes:
        split: procedural houses of "train", "val" or "test" (disjoint seeds).
        count: number of different houses.
        offset: first house of the split.
        rooms: fewest and most rooms per house.
        floors: storeys per house.
        textures: draw textures (needed for RGB only).
        files: scene files instead of houses (anything `load_scene` reads).
        up: up axis of the files, "y" or "z"; empty for the format's own (glb: y, but z for glb
            stages of Habitat episodes, as Habitat itself assumes).
        episodes: Habitat episode file (.json or .json.gz) instead of generated episodes.
        scenes_dir: folder the scene ids of `episodes` are relative to.
        sequential: walk through a fixed list of episodes (episode e in scene e mod count, the same
            for every seed and number of environments) instead of drawing scenes at random.
        episodes_per_scene: episodes played in a scene before the next is drawn (random order only).
        cached_scenes: scenes kept in memory beyond those in use.
        prefetch: prepare the next episode in a background thread.
    """

    split: str = "train"
    count: int = 1000
    offset: int = 0
    rooms: tuple[int, int] = (1, 12)
    floors: int = 1
    textures: bool = True
    files: tuple[str, ...] = ()
    up: str = ""
    episodes: str = ""
    scenes_dir: str = ""
    sequential: bool = False
    episodes_per_scene: int = 16
    cached_scenes: int = 16
    prefetch: bool = True

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(
                f"unknown split '{self.split}': {suggest_nearest(self.split, SPLITS)}"
            )
        if not 1 <= self.rooms[0] <= self.rooms[1]:
            raise ConfigError(f"rooms {self.rooms} must be (fewest, most) with 1 <= fewest <= most")
        for name in ("count", "floors", "episodes_per_scene", "cached_scenes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"scene.{name} = {getattr(self, name)} must be at least 1")
        if self.up not in ("", "y", "z"):
            raise ConfigError(f"scene.up = '{self.up}' must be y, z or empty")
        if self.offset < 0:
            raise ConfigError(f"scene.offset = {self.offset} must not be negative")


@dataclass(frozen=True)
class NavigationConfig:
    """One navigation task.

    Attributes:
        task: "pointnav", "objectnav", "imagenav" or "explore" (set by the environment id).
        scene: where episodes take place.
        camera: the camera on the agent and the images in the observation.
        agent: body and step lengths.
        max_steps: the episode is truncated after this many actions.
        success_distance: geodesic distance to the goal within which STOP succeeds [m].
        success_coverage: share of the reachable floor that counts as success when exploring.
        min_geodesic, max_geodesic: range of start-goal distances of generated episodes [m].
        min_ratio: geodesic/straight distance below which an episode is mostly thrown away.
        categories: classes an ObjectNav episode may ask for (mpcat40 names).
        expert: add the privileged observation "expert_action".
        progress_reward: per metre of geodesic progress; exploring: per 10 % of new coverage.
        success_reward: for stopping at the goal (not when exploring).
        step_penalty, collision_penalty: taken off at each step / each touch.
    """

    task: str = "pointnav"
    scene: SceneSource = field(default_factory=SceneSource)
    camera: CameraSpec = field(default_factory=lambda: CameraSpec(outputs=("rgb", "depth")))
    agent: AgentSpec = field(default_factory=AgentSpec)
    max_steps: int = 500
    success_distance: float = 0.2
    success_coverage: float = 0.95
    min_geodesic: float = 1.0
    max_geodesic: float = 30.0
    min_ratio: float = 1.1
    categories: tuple[str, ...] = ("chair", "sofa", "plant", "bed", "toilet", "tv_monitor")
    expert: bool = False
    progress_reward: float = 1.0
    success_reward: float = 2.5
    step_penalty: float = 0.01
    collision_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"unknown task '{self.task}': {suggest_nearest(self.task, TASKS)}")
        if self.max_steps < 1:
            raise ConfigError(f"max_steps = {self.max_steps} must be at least 1")
        if not self.success_distance > 0:
            raise ConfigError(f"success_distance = {self.success_distance} m must be positive")
        if not 0 <= self.min_geodesic < self.max_geodesic:
            raise ConfigError(
                f"geodesic range [{self.min_geodesic}, {self.max_geodesic}] m must be rising"
            )
        for name in self.categories:
            if name not in MPCAT40:
                raise ConfigError(
                    f"unknown object class '{name}': {suggest_nearest(name, MPCAT40)}"
                )
        if self.task == "objectnav" and not self.categories:
            raise ConfigError("categories is empty: name at least one object class to look for")
        if not 0 < self.success_coverage <= 1:
            raise ConfigError(f"success_coverage = {self.success_coverage} must lie in (0, 1]")
        if self.task == "explore" and self.expert:
            raise ConfigError("exploring has no expert; set expert=False (try the frontier policy)")
