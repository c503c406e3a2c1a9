"""The core of every navigation environment: N agents in N (possibly different) scenes, one batch.

`NavigationEnv` is the view of a batch of one, `NavigationVectorEnv` of many; both behave the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from embodied.errors import ConfigError, NavigationError
from embodied.simulators.embedded import apply_actions
from embodied.simulators.raycast import apply_noise, compute_camera_poses, render_many
from embodied.tasks.navigation import metrics
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.coverage import CoverageGrid
from embodied.tasks.navigation.expert import GeodesicFollower
from embodied.tasks.navigation.goals import GoalIndex
from embodied.tasks.navigation.observations import observation_space, polar_goal, relative_pose
from embodied.tasks.navigation.sources import SceneList
from embodied.tasks.navigation.stream import EpisodeStream, PreparedEpisode
from embodied.types import FORWARD, LOOK_DOWN, STOP

Array = NDArray[np.float64]


class NavigationBatch:
    """Plays N episodes at once.

    Args:
        config: the task.
        num_envs: number of environments.

    Attributes:
        positions: (N, 3) feet [m].
        yaw, pitch: (N,) [rad].
        prepared_episodes: the episode each environment plays.
        grids, seen_cells: when exploring, the reachable cells of each scene and which were seen.
    """

    def __init__(self, config: NavigationConfig, num_envs: int) -> None:
        if num_envs < 1:
            raise ConfigError(f"number of environments = {num_envs} must be at least 1")
        if config.task == "explore" and config.camera.projection != "pinhole":
            raise ConfigError("Explore measures coverage with a pinhole camera; set projection")
        self.config, self.num_envs = config, num_envs
        hidden = ("depth",) if config.task == "explore" else ()
        outputs = tuple(dict.fromkeys((*config.camera.outputs, *hidden)))
        self.camera = replace(config.camera, outputs=outputs)
        self._scenes = SceneList(config.scene, config.agent)
        prefetch = config.scene.prefetch
        self._pool = ThreadPoolExecutor(1, "episodes") if prefetch else None
        if self._pool is not None:  # an environment nobody closed stops preparing when collected
            weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        index = GoalIndex()
        self._streams = [
            EpisodeStream(config, self._scenes, index, self._pool, i, num_envs)
            for i in range(num_envs)
        ]
        noise = config.camera.noise
        self._noisy = noise.rgb_sigma > 0 or noise.depth != "none"
        self._noise: list[np.random.Generator] = []
        self.prepared_episodes: list[PreparedEpisode] = []
        self.positions = np.zeros((num_envs, 3))
        self.yaw, self.pitch = np.zeros(num_envs), np.zeros(num_envs)
        self._begin = np.zeros((num_envs, 4))
        self._shortest = np.zeros(num_envs)
        self.distance = np.zeros(num_envs)
        self.travelled = np.zeros(num_envs)
        self.collisions = np.zeros(num_envs, np.int64)
        self.steps = np.zeros(num_envs, np.int64)
        self.collided = np.zeros(num_envs, bool)
        self.stopped = np.zeros(num_envs, bool)
        self._goal_points = np.zeros((num_envs, 3))
        self._categories = np.zeros(num_envs, np.int64)
        self._goal_images: NDArray | None = None
        self._followers: list[GeodesicFollower | None] = [None] * num_envs
        self.grids: list[CoverageGrid | None] = [None] * num_envs
        self.seen_cells: list[NDArray[np.bool_]] = [np.zeros(0, bool)] * num_envs
        self.coverage = np.zeros(num_envs)

    def restart_streams(self, seeds: Sequence[int]) -> None:
        """Begin the episode stream of each environment anew."""
        for stream, seed in zip(self._streams, seeds, strict=True):
            stream.restart(seed)
        self._noise = [np.random.default_rng((seed, 1)) for seed in seeds]

    def begin_episodes(self, rows: Sequence[int]) -> None:
        """Start the next episode in some environments.

        Raises:
            NavigationError, SceneError: the next episode cannot be played; says why.
        """
        fresh = [self._streams[i].next_episode() for i in rows]
        if not self.prepared_episodes:
            self.prepared_episodes = list(fresh)
        for i, ready in zip(rows, fresh, strict=True):
            self.prepared_episodes[i] = ready
            episode = ready.episode
            self.positions[i] = ready.world.pathfinder.snap_points(
                np.array([episode.start.position])
            )[0]
            self.yaw[i], self.pitch[i] = episode.start.yaw, 0.0
            self._begin[i] = (*self.positions[i], self.yaw[i])
            self.travelled[i] = self.collisions[i] = self.steps[i] = 0
            self.collided[i] = self.stopped[i] = False
            self._categories[i] = max(episode.category, 0)
            self.distance[i] = self._shortest[i] = np.nan
            if ready.distances is not None:
                self._goal_points[i] = episode.goals[0]
                self.distance[i] = ready.distances.get_distances(self.positions[i : i + 1])[0]
                self._shortest[i] = self.distance[i]
                self._followers[i] = GeodesicFollower(
                    ready.world.pathfinder,
                    ready.distances,
                    self.config.agent,
                    self.config.success_distance,
                )
            else:
                grid = CoverageGrid(ready.world, self.positions[i])
                self.grids[i], self.seen_cells[i] = grid, np.zeros(len(grid.points), bool)
                self.coverage[i] = 0.0
        if self.config.task == "imagenav":
            self._render_goals(rows)

    def step(
        self, actions: NDArray[np.integer]
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """Move every agent; return rewards (without coverage), terminated and truncated, (N,).

        Raises:
            NavigationError: a wrong number of actions or an unknown action.
        """
        actions = np.asarray(actions)
        last = int(self.action_space.n) - 1
        known = actions.dtype.kind in "iu" and actions.shape == (self.num_envs,)
        if not known or actions.min() < 0 or actions.max() > last:
            raise NavigationError(
                f"actions must be {self.num_envs} integers in 0..{last}, got {actions.tolist()}"
            )
        before = self.positions.copy()
        paths = [p.world.pathfinder for p in self.prepared_episodes]
        agent = self.config.agent
        self.collided = apply_actions(paths, agent, self.positions, self.yaw, self.pitch, actions)
        self.travelled += np.sqrt(((self.positions - before) ** 2).sum(axis=1))
        self.collisions += self.collided
        self.steps += 1
        self.stopped = actions == STOP
        reward = np.full(self.num_envs, -self.config.step_penalty)
        reward -= self.config.collision_penalty * self.collided
        if self.config.task != "explore":
            reward += self.config.progress_reward * self._progress(actions)
            reward += self.config.success_reward * self.check_success()
        return reward, self.stopped.copy(), (self.steps >= self.config.max_steps) & ~self.stopped

    def observe(self, rows: NDArray[np.integer] | None = None) -> tuple[dict[str, NDArray], Array]:
        """Render and return the observations of some environments (all by default).

        Returns:
            Observations stacked over the rows, and the (K,) coverage reward they bring (zeros but
            for Explore).
        """
        rows = np.arange(self.num_envs) if rows is None else np.asarray(rows)
        worlds = [self.prepared_episodes[i].world for i in rows]
        poses = compute_camera_poses(
            self.positions[rows], self.yaw[rows], self.camera, self.pitch[rows]
        )
        images = render_many([w.caster for w in worlds], self.camera, poses)
        gain = np.zeros(len(rows))
        if self.config.task == "explore":
            gain = self._look(rows, poses, images["depth"])
        if self._noisy:
            images = self._add_noise(rows, images)
        observation = {name: images[name] for name in self.config.camera.outputs}
        observation["pose"] = relative_pose(self.positions[rows], self.yaw[rows], self._begin[rows])
        if self.config.task == "pointnav":
            observation["goal"] = polar_goal(
                self.positions[rows], self.yaw[rows], self._goal_points[rows]
            )
        elif self.config.task == "objectnav":
            observation["goal"] = self._categories[rows]
        elif self.config.task == "imagenav" and self._goal_images is not None:
            observation["goal"] = self._goal_images[rows]
        if self.config.expert:
            observation["expert_action"] = self.expert_actions(rows)
        return observation, gain

    def expert_actions(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the shortest-path expert's action in some environments."""
        chosen = np.zeros(len(rows), np.int64)
        for k, i in enumerate(rows):
            follower = self._followers[i]
            if follower is not None:
                chosen[k] = follower.get_next_action(
                    self.positions[i], float(self.yaw[i]), self.distance[i]
                )
        return chosen

    def check_success(self) -> NDArray[np.bool_]:
        """(N,) whether the last action ended the episode with success."""
        if self.config.task == "explore":
            return self.coverage >= self.config.success_coverage
        return metrics.is_success(self.stopped, self.distance, self.config.success_distance)

    def collect_info(self) -> dict[str, NDArray]:
        """Metrics so far, each (N,): see `embodied.tasks.navigation.metrics`."""
        good = self.check_success()
        report: dict[str, NDArray] = {
            "success": good.astype(np.float64),
            "collisions": self.collisions.copy(),
            "path_length": self.travelled.copy(),
            "steps": self.steps.copy(),
            "collided": self.collided.copy(),
            "episode": np.array([p.number for p in self.prepared_episodes]),
        }
        if self.config.task == "explore":
            report["coverage"] = self.coverage.copy()
            return report
        report["distance_to_goal"] = self.distance.copy()
        report["geodesic"] = self._shortest.copy()
        report["spl"] = metrics.spl(good, self._shortest, self.travelled)
        report["soft_spl"] = metrics.soft_spl(self.distance, self._shortest, self.travelled)
        return report

    def close(self) -> None:
        """Stop preparing episodes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def action_space(self) -> spaces.Discrete:
        """STOP, FORWARD, LEFT, RIGHT; ObjectNav adds LOOK_UP and LOOK_DOWN."""
        return spaces.Discrete(LOOK_DOWN + 1 if self.config.task == "objectnav" else 4)

    @property
    def observation_space(self) -> spaces.Dict:
        """The observation of one environment."""
        return observation_space(self.config)

    def _progress(self, actions: NDArray[np.integer]) -> Array:
        before = self.distance.copy()
        for i in np.flatnonzero(actions == FORWARD):
            field = self.prepared_episodes[i].distances
            if field is not None:
                now = field.get_distances(self.positions[i : i + 1])[0]
                # A foot on the rim of the navigable area may fall between cells of the field.
                self.distance[i] = now if np.isfinite(now) else before[i]
        return before - self.distance

    def _look(self, rows: NDArray[np.integer], poses: Array, depth: NDArray) -> Array:
        gain = np.zeros(len(rows))
        for k, i in enumerate(rows):
            grid = self.grids[i]
            if grid is not None:
                grid.mark_seen(
                    self.seen_cells[i], self.camera, poses[k], depth[k], self.positions[i]
                )
                now = float(
                    metrics.coverage_share(self.seen_cells[i].sum(), len(self.seen_cells[i]))
                )
                gain[k] = (now - self.coverage[i]) * 10 * self.config.progress_reward
                self.coverage[i] = now
        return gain

    def _add_noise(self, rows: NDArray[np.integer], images: dict[str, NDArray]) -> dict:
        """Draw each environment's noise from its own generator: batch size changes nothing."""
        noisy = [
            apply_noise({n: v[k] for n, v in images.items()}, self.camera, self._noise[i])
            for k, i in enumerate(rows)
        ]
        return {name: np.stack([one[name] for one in noisy]) for name in images}

    def _render_goals(self, rows: Sequence[int]) -> None:
        camera = replace(self.config.camera, outputs=("rgb",))
        poses = [self.prepared_episodes[i].episode.goal_pose for i in rows]
        places = np.array([p.position for p in poses if p is not None])
        yaw = np.array([p.yaw for p in poses if p is not None])
        casters = [self.prepared_episodes[i].world.caster for i in rows]
        images = render_many(casters, camera, compute_camera_poses(places, yaw, camera))["rgb"]
        if self._goal_images is None:
            self._goal_images = np.zeros((self.num_envs, *images.shape[1:]), np.uint8)
        # A new array: observations already handed out keep their goal.
        self._goal_images = self._goal_images.copy()
        self._goal_images[list(rows)] = images
