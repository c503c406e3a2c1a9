"""Language-guided navigation with low-level actions: `embodied/VLNCE-Houses-v0`.

The houses, instructions and goals are those of `embodied/VLN-Houses-v0`, but the agent has a body:
it steps forward, turns and stops in the simulator, between and beside the places of the graph,
which it never sees.

Success: STOP within `goal_distance` of walking from a place that the graph task accepts, or with
the target itself in sight within `houses.reach` (our choice: the graph task accepts the places that
see the target that near; a body need not stand exactly there).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES
from embodied.errors import ConfigError, NavigationError
from embodied.simulators.embedded import apply_actions
from embodied.simulators.pathfinder import DistanceField
from embodied.simulators.raycast import compute_camera_poses, render_many
from embodied.tasks.datasets.r2r_ce import ContinuousEpisode, score_path
from embodied.tasks.navigation import metrics
from embodied.tasks.navigation.expert import GeodesicFollower
from embodied.tasks.vln.continuous_task import (
    ContinuousHouse,
    ContinuousSource,
    ContinuousTaskConfig,
    load_continuous_source,
)
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.observations import NAME_LENGTH, TEXT, TEXT_LENGTH
from embodied.types import FORWARD, RIGHT, STOP, Pose
from maps.panorama.from_images import MIN_AREA
from maps.panorama.views import TOP

Array = NDArray[np.float64]
Observation = dict[str, Any]

CLOSE = 0.25
"""Spacing of the reference path that nDTW compares with [m]: one step forward."""


@dataclass(frozen=True, eq=False)
class _Ready:
    """An episode ready to play; `goals` are places on the floor (G, 3)."""

    episode: VLNEpisode
    house: ContinuousHouse
    goals: Array
    field: DistanceField
    start: Array


class ContinuousBatch:
    """Plays N episodes at once.

    An observation holds, stacked over N (strings as tuples):

        instruction str | position (3,) of the feet relative to the start, world axes [m] | heading
        clockwise from north [rad] (GPS and compass) | rgb (H, W, 3), depth (H, W) length of the
        rays [m], semantic (H, W) row of the category canvas, -1 = none, instance (H, W) object
        number, 0 = none: equirectangular, north in the middle whatever the heading |
        instance_names: name of each object number, "" for parts of the building | expert:
        `expert_action`.

    Actions: 0 STOP, 1 forward, 2 left, 3 right.

    Args:
        config: the task.
        num_envs: N.
        source: worlds, episodes and scenes; those of `config.task` by default.

    Attributes:
        episodes: what may be played.
        current: the number of each environment's episode, -1 before the first.
        positions, yaw: feet (N, 3) [m] and heading counter-clockwise (N,) [rad].
        moves, travelled: actions and metres so far, (N,).
        tracks: positions of each episode, the start and one per step that moved.
    """

    def __init__(
        self, config: ContinuousTaskConfig, num_envs: int, source: ContinuousSource | None = None
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"number of environments = {num_envs} must be at least 1")
        self.config, self.num_envs = config, num_envs
        self.source = source or load_continuous_source(config)
        self.episodes = self.source.episodes
        if not self.episodes:
            raise ConfigError(f"split '{config.task.split}' of the houses holds no episode")
        self._camera = config.panorama.camera
        self._houses: dict[str, ContinuousHouse] = {}
        self._ready: list[_Ready] = []
        self._follow: list[GeodesicFollower | None] = [None] * num_envs
        self._images: dict[str, NDArray[Any]] = {}
        self.current = np.full(num_envs, -1, np.int64)
        self.positions, self.yaw = np.zeros((num_envs, 3)), np.zeros(num_envs)
        self.moves, self.travelled = np.zeros(num_envs, np.int64), np.zeros(num_envs)
        self.collisions = np.zeros(num_envs, np.int64)
        self.stopped, self._sighted = np.zeros(num_envs, bool), np.zeros(num_envs, bool)
        self._oracle = np.zeros(num_envs, bool)
        self.distance = np.zeros(num_envs)
        self.tracks: list[list[Array]] = [[] for _ in range(num_envs)]

    # -- playing ---

    def begin_episodes(
        self, rows: Sequence[int] | NDArray[np.integer], episodes: Sequence[int]
    ) -> None:
        """Start episodes, given by their number in `episodes`, in some environments.

        Raises:
            NavigationError: a number that is no episode's, or goals that cannot be reached.
        """
        for row, number in zip(rows, episodes, strict=True):
            if not 0 <= number < len(self.episodes):
                raise NavigationError(
                    f"episode {number}: there are 0..{len(self.episodes) - 1} of them"
                )
            ready = self._prepare(self.episodes[number])
            if not self._ready:
                self._ready = [ready] * self.num_envs
            self._ready[row] = ready
            self.current[row], self.positions[row] = number, ready.start
            self.yaw[row] = -ready.episode.heading
            self.moves[row] = self.collisions[row] = 0
            self.travelled[row] = 0.0
            self.stopped[row] = self._oracle[row] = False
            self.distance[row] = ready.field.get_distances(ready.start[None])[0]
            self.tracks[row] = [ready.start.copy()]
            if self.config.expert:
                self._follow[row] = GeodesicFollower(
                    ready.house.world.pathfinder, ready.field, self.config.agent, 0.3
                )
        self._look(np.asarray(rows, np.int64))

    def step(
        self, actions: NDArray[np.integer]
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply one action per agent; return rewards, terminated and truncated, (N,).

        Raises:
            NavigationError: a wrong number of actions or an unknown action.
        """
        actions = np.asarray(actions)
        known = actions.dtype.kind in "iu" and actions.shape == (self.num_envs,)
        if not known or actions.min() < STOP or actions.max() > RIGHT:
            raise NavigationError(
                f"actions must be {self.num_envs} integers in 0..{RIGHT} (stop, forward, left, "
                f"right), "
                f"got {actions.tolist()}"
            )
        if (self.current < 0).any():
            raise NavigationError("begin an episode in every environment before the first step")
        before, gap = self.positions.copy(), self.distance.copy()
        paths = [r.house.world.pathfinder for r in self._ready]
        pitch = np.zeros(self.num_envs)
        bumped = apply_actions(paths, self.config.agent, self.positions, self.yaw, pitch, actions)
        self.collisions += bumped
        self.travelled += np.linalg.norm(self.positions - before, axis=1)
        self.moves += 1
        self.stopped = actions == STOP
        for row in np.flatnonzero(actions == FORWARD):
            now = float(self._ready[row].field.get_distances(self.positions[row][None])[0])
            # A foot on the rim of the navigable area may fall between cells of the field.
            self.distance[row] = now if np.isfinite(now) else gap[row]
            self.tracks[row].append(self.positions[row].copy())
        self._look(np.flatnonzero(actions != STOP))
        truncated = (self.moves >= self.config.max_steps) & ~self.stopped
        return gap - self.distance + self.config.success_reward * self.check_success(), (
            self.stopped.copy()
        ), truncated  # fmt: skip

    def observe(self, rows: Sequence[int] | NDArray[np.integer] | None = None) -> Observation:
        """Return the observations of some environments (all by default), stacked; fresh arrays."""
        index = np.arange(self.num_envs) if rows is None else np.asarray(rows, np.int64)
        ready = [self._ready[r] for r in index]
        starts = np.stack([r.start for r in ready])
        observation: Observation = {
            "instruction": tuple(r.episode.instruction for r in ready),
            "position": (self.positions[index] - starts).astype(np.float32),
            "heading": ((-self.yaw[index]) % (2 * np.pi)).astype(np.float32),
            **{name: image[index] for name, image in self._images.items()},
            "instance_names": tuple(r.house.names for r in ready),
        }
        if self.config.expert:
            observation["expert_action"] = np.array([self._expert(int(r)) for r in index], np.int64)
        return observation

    # -- scoring ---

    def check_success(self) -> NDArray[np.bool_]:
        """(N,) whether the last action ended the episode with success."""
        return self.stopped & ((self.distance <= self.config.goal_distance) | self._sighted)

    def compute_metrics(self, row: int) -> dict[str, float]:
        """Return all metrics of an environment's episode so far.

        distance_to_goal and spl are geodesic, to the nearest goal place; ndtw and sdtw compare
        the track with the walk over the annotated places, `CLOSE` apart, in straight lines.
        """
        ready = self._ready[row]
        success = float(self.check_success()[row])
        shortest = float(ready.field.get_distances(ready.start[None])[0])
        floors = ready.house.graph.floor_positions
        reference = _dense(floors[list(ready.episode.path)])
        told = ContinuousEpisode(
            ready.episode.id, "", ready.episode.world, Pose(tuple(ready.start)),
            ready.episode.instruction, ready.goals, reference, shortest,
        )  # fmt: skip
        warping = score_path(told, np.array(self.tracks[row]))["ndtw"]
        return {
            "success": success,
            "spl": float(metrics.spl(success, shortest, self.travelled[row])),
            "oracle_success": float(self._oracle[row]),
            "distance_to_goal": float(self.distance[row]),
            "geodesic": shortest,
            "path_length": float(self.travelled[row]),
            "steps": float(self.moves[row]),
            "collisions": float(self.collisions[row]),
            "ndtw": warping,
            "sdtw": success * warping,
        }

    @property
    def action_space(self) -> spaces.Discrete:
        """STOP, forward, left, right."""
        return spaces.Discrete(4)

    @property
    def observation_space(self) -> spaces.Dict:
        """The observation of one environment."""
        size = (self._camera.height, self._camera.width)
        most, rows = np.iinfo(np.int32).max, len(SOS_CATEGORIES)
        name = spaces.Text(NAME_LENGTH, min_length=0, charset=TEXT)
        space: dict[str, spaces.Space] = {
            "instruction": spaces.Text(TEXT_LENGTH, charset=TEXT),
            "position": spaces.Box(-np.inf, np.inf, (3,), np.float32),
            "heading": spaces.Box(0.0, 6.2832, (), np.float32),
            "rgb": spaces.Box(0, 255, (*size, 3), np.uint8),
            "depth": spaces.Box(0.0, float(self._camera.max_depth), size, np.float32),
            "semantic": spaces.Box(-1, rows - 1, size, np.int64),
            "instance": spaces.Box(0, most, size, np.int32),
            "instance_names": spaces.Sequence(name),
        }
        if self.config.expert:
            space["expert_action"] = spaces.Discrete(4)
        return spaces.Dict(space)

    # -- inside ---

    def _look(self, rows: NDArray[np.int64]) -> None:
        """Render some agents' panoramas in one call, and note who sees the target."""
        if not len(rows):
            return
        north = compute_camera_poses(self.positions[rows], np.zeros(len(rows)), self._camera)
        houses = [self._ready[r].house for r in rows]
        images = render_many([h.world.caster for h in houses], self._camera, north)
        images["semantic"] = np.stack(
            [h.rows[image] for h, image in zip(houses, images["semantic"], strict=True)]
        )
        fresh = {} if self._images else {
            name: np.zeros((self.num_envs, *image.shape[1:]), image.dtype)
            for name, image in images.items()
        }  # fmt: skip
        self._images |= fresh
        for name, image in images.items():
            self._images[name][rows] = image
        reach = self.config.task.houses.reach
        targets = np.array([self._ready[r].episode.target for r in rows])
        self._sighted[rows] = find_visible(images["depth"], images["instance"], targets, reach)
        near = self.distance[rows] <= self.config.goal_distance
        self._oracle[rows] |= near | self._sighted[rows]

    def _expert(self, row: int) -> int:
        follower = self._follow[row]
        if follower is None:
            return STOP
        return follower.get_next_action(
            self.positions[row], float(self.yaw[row]), float(self.distance[row])
        )

    def _prepare(self, episode: VLNEpisode) -> _Ready:
        house = self._house(episode.world)
        goals = house.graph.floor_positions[list(episode.goals)]
        start = house.graph.floor_positions[episode.start].copy()
        house.world.require_navigable(start[None], f"the start of episode '{episode.id}'")
        distances = house.world.pathfinder.compute_distance_field(goals)
        if not np.isfinite(distances.get_distances(start[None])[0]):
            raise NavigationError(
                f"episode '{episode.id}' in '{episode.world}': no goal can be reached from its "
                "start; the agent's radius and height must be those of the graph task"
            )
        return _Ready(episode, house, goals, distances, start)

    def _house(self, name: str) -> ContinuousHouse:
        if name not in self._houses:
            used = {r.episode.world for r in self._ready}
            spare = [n for n in self._houses if n not in used]
            for old in spare[: max(0, len(spare) - self.config.cached_scenes + 1)]:
                del self._houses[old]
            self._houses[name] = self.source.open_house(name, self.config.agent)
        return self._houses[name]


def find_visible(
    depth: NDArray[Any],
    instance: NDArray[Any],
    targets: NDArray[np.integer],
    reach: float,
    min_area: float = MIN_AREA,
) -> NDArray[np.bool_]:
    """Tell in which panoramas (N, H, W) an object is listed; `maps.panorama.from_images` has the
    rule.

    Args:
        depth: length of the rays [m].
        instance: object of each pixel.
        targets: (N,) object asked for, negative for none.
        reach: largest median distance [m].
        min_area: smallest solid angle shown within +-60 deg of elevation [sr].
    """
    count, height, width = instance.shape
    elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    area = np.cos(elevation) * (np.pi / height) * (2 * np.pi / width) * (np.abs(elevation) < TOP)
    seen = np.zeros(count, bool)
    for k in np.flatnonzero(targets >= 0):
        shown = (instance[k] == targets[k]) & (depth[k] > 0) & (area[:, None] > 0)
        if shown.any() and float((shown * area[:, None]).sum()) >= min_area:
            seen[k] = float(np.median(depth[k][shown])) <= reach
    return seen


def _dense(points: Array) -> Array:
    """Return points on the polyline (P, 3), nowhere farther apart than `CLOSE`."""
    pieces = [points[:1]]
    for a, b in zip(points[:-1], points[1:], strict=True):
        count = max(1, int(np.ceil(np.linalg.norm(b - a) / CLOSE)))
        pieces.append(a + np.arange(1, count + 1)[:, None] / count * (b - a))
    return np.concatenate(pieces)
