"""The core of every language-guided navigation environment: N agents, each in a graph world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES
from embodied.errors import ConfigError, NavigationError
from embodied.simulators.graph import GraphWorld
from embodied.tasks.vln import metrics
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.observations import PackedPlace, PlaceTable, action_space, observation_space
from embodied.tasks.vln.source import VLNSource, load_source
from embodied.tasks.vln.submission import build_entry
from embodied.types import STOP
from maps.panorama.canvas import HEIGHT, WIDTH

Array = NDArray[np.float64]
Observation = dict[str, Any]


class VLNBatch:
    """Plays N episodes at once.

    An observation holds, stacked over N (strings as tuples):

        instruction str | place int64 | position (3,) relative to the episode's start, world axes
        [m] | heading clockwise from north [rad] | views (36, D) | candidates (C,) neighbouring
        places, -1 = none | candidate_positions (C, 3) relative to the start [m] | objects (O,)
        visible objects, -1 = none | object_names | object_categories (O,) canvas rows |
        object_boxes (O, 4) | object_features (O, 6): see `maps.panorama.observation.Percept`;
        canvas: `canvas` (K, H, W); oracle_canvas: `candidate_canvas` (C, K, H, W);
        privileged: `goal_distance` to the nearest goal [m], `candidate_goal_distances` (C,) inf =
        none, `target` id of the object asked for, -1 = none. Where objects are predictions, the
        target is the one here that truly is it, and -1 where no prediction is.

    An action is (move, object): 0 = STOP, i = walk to candidates[i - 1]; 0 = no object, j = the
    answer is objects[j - 1], read with STOP only. A move to a candidate that is not there leaves
    the agent where it is, costs a move and is counted in the metric "refused"; an object that is
    not there is no answer. The episode ends with STOP or after `max_steps` moves.

    Args:
        config: the task.
        num_envs: N.
        source: worlds and episodes; read from the data that `config` names by default.

    Attributes:
        worlds, episodes: what may be played.
        current: the number of each environment's episode, -1 before the first.
        places: (N,) where each agent is.
        walks: the places each agent has visited, the start first.
        answers: (N,) object id named at the end, -1 for none.
    """

    def __init__(self, config: VLNConfig, num_envs: int, source: VLNSource | None = None) -> None:
        if num_envs < 1:
            raise ConfigError(f"number of environments = {num_envs} must be at least 1")
        self.config, self.num_envs = config, num_envs
        self.worlds, self.episodes = source or load_source(config)
        if not self.episodes:
            raise ConfigError(f"split '{config.split}' of {config.dataset} holds no episode")
        self.place_table = PlaceTable(config)
        self.observation_space = observation_space(config, self.place_table.view_size)
        self.action_space = action_space(config)
        self.current = np.full(num_envs, -1, np.int64)
        self.places = np.zeros(num_envs, np.int64)
        self.headings = np.zeros(num_envs)
        self.answers = np.full(num_envs, -1, np.int64)
        self.moves = np.zeros(num_envs, np.int64)
        self.refused = np.zeros(num_envs, np.int64)
        self.travelled = np.zeros(num_envs)
        self.walks: list[list[int]] = [[] for _ in range(num_envs)]
        self._named = np.zeros(num_envs, bool)
        self._starts = np.zeros((num_envs, 3))
        self._world: list[GraphWorld] = []
        self._packed: list[PackedPlace] = []
        self._goal: list[Array] = [np.zeros(0)] * num_envs
        self._fields: dict[int, Array] = {}

    def begin_episodes(
        self, rows: Sequence[int] | NDArray[np.integer], episodes: Sequence[int]
    ) -> None:
        """Start episodes, given by their number in `episodes`, in some environments.

        Raises:
            NavigationError: a number that is no episode's.
        """
        for row, number in zip(rows, episodes, strict=True):
            if not 0 <= number < len(self.episodes):
                raise NavigationError(
                    f"episode {number}: there are 0..{len(self.episodes) - 1} of them"
                )
            episode = self.episodes[number]
            world = self.worlds[episode.world]
            packed = self.place_table.get_place(world, episode.start)
            if not self._world:
                self._world, self._packed = [world] * self.num_envs, [packed] * self.num_envs
            self._world[row], self._packed[row] = world, packed
            self.current[row], self.places[row] = number, episode.start
            self.headings[row], self.answers[row] = episode.heading, -1
            self.moves[row], self.refused[row] = 0, 0
            self.travelled[row], self._named[row] = 0.0, False
            self.walks[row] = [episode.start]
            self._starts[row] = world.positions[episode.start]
            self._goal[row] = self._field(number, world, episode)

    def step(
        self, actions: NDArray[np.integer]
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply one action (N, 2) per agent; return rewards, terminated and truncated, (N,).

        The reward is the progress towards the nearest goal [m], plus `success_reward` at a
        successful end (our choice; 0 where the truth is held back).

        Raises:
            NavigationError: actions of a wrong shape or outside the action space.
        """
        actions = np.asarray(actions)
        if actions.dtype.kind not in "iu" or actions.shape != (self.num_envs, 2):
            raise NavigationError(
                f"actions must be ({self.num_envs}, 2) integers (move, object), got "
                f"{actions.dtype} {actions.shape}"
            )
        outside = (actions < 0) | (actions >= self.action_space.nvec)
        if outside.any():
            row = int(np.argwhere(outside)[0, 0])
            raise NavigationError(
                f"environment {row}: action {actions[row].tolist()} must lie in [0, 0] .. "
                f"{(self.action_space.nvec - 1).tolist()}"
            )
        if (self.current < 0).any():
            raise NavigationError("begin an episode in every environment before the first step")
        reward = np.zeros(self.num_envs)
        stopped = actions[:, 0] == STOP
        for row in range(self.num_envs):
            move, named = int(actions[row, 0]), int(actions[row, 1])
            if move == STOP:
                self._answer(row, named)
            else:
                reward[row] = self._walk(row, move)
        truncated = (self.moves >= self.config.max_steps) & ~stopped
        for last in np.flatnonzero(stopped | truncated):
            reward[last] += self.config.success_reward * self.check_success(int(last))
        return reward, stopped, truncated

    def observe(self, rows: Sequence[int] | NDArray[np.integer] | None = None) -> Observation:
        """Return the observations of some environments (all by default), stacked; fresh arrays."""
        chosen = range(self.num_envs) if rows is None else [int(r) for r in rows]
        index = np.asarray(chosen, np.int64)
        packed = [self._packed[r] for r in chosen]
        starts = self._starts[index]
        world = [self._world[r] for r in chosen]
        here = np.stack([w.positions[p] for w, p in zip(world, self.places[index], strict=True)])
        candidates = np.stack([p.candidates for p in packed])
        around = np.stack([p.positions for p in packed]) - starts[:, None]
        around[candidates < 0] = 0.0
        observation: Observation = {
            "instruction": tuple(self.episodes[i].instruction for i in self.current[index]),
            "place": self.places[index],
            "position": (here - starts).astype(np.float32),
            "heading": self.headings[index].astype(np.float32),
            "views": np.stack([p.views for p in packed]),
            "candidates": candidates,
            "candidate_positions": around.astype(np.float32),
            "objects": np.stack([p.objects for p in packed]),
            "object_names": tuple(p.names for p in packed),
            "object_categories": np.stack([p.categories for p in packed]),
            "object_boxes": np.stack([p.boxes for p in packed]),
            "object_features": np.stack([p.features for p in packed]),
        }
        if self.config.canvas:
            observation["canvas"] = np.stack(
                [
                    w.observe_place(int(p)).canvas
                    for w, p in zip(world, self.places[index], strict=True)
                ]
            )
        if self.config.oracle_canvas:
            observation["candidate_canvas"] = self._neighbour_canvases(world, candidates)
        if self.config.privileged:
            observation |= self._truth(chosen, index, candidates)
        return observation

    def check_success(self, row: int) -> bool:
        """Tell whether an episode that ended where the agent is now would be a success."""
        episode = self.episodes[self.current[row]]
        if not episode.has_truth:
            return False
        return bool(
            metrics.find_success_places(self._world[row].distances, episode)[self.places[row]]
        )

    def compute_metrics(self, row: int) -> dict[str, float]:
        """Return all metrics of an episode so far: `metrics.score_episode` and "refused"."""
        episode = self.episodes[self.current[row]]
        distances = self._world[row].distances
        scores = metrics.score_episode(distances, episode, self.walks[row], bool(self._named[row]))
        return scores | {"refused": float(self.refused[row])}

    def get_trajectory(self, row: int) -> list[str]:
        """Return the names of the places visited."""
        return [self._world[row].places[p] for p in self.walks[row]]

    def build_submission(self, row: int) -> dict[str, Any]:
        """Return what a test server wants to know of an environment's episode."""
        names = self.config.dataset != "r2r"
        return build_entry(
            self.episodes[self.current[row]],
            self._world[row],
            self.walks[row],
            int(self.answers[row]) if names else None,
        )

    def _walk(self, row: int, move: int) -> float:
        """Move one agent; return its progress towards the nearest goal [m]."""
        packed, world = self._packed[row], self._world[row]
        self.moves[row] += 1
        if move > packed.count:
            self.refused[row] += 1
            return 0.0
        before, after = int(self.places[row]), int(packed.candidates[move - 1])
        self.headings[row] = packed.headings[move - 1]
        self.places[row] = after
        self.walks[row].append(after)
        self.travelled[row] += packed.lengths[move - 1]
        self._packed[row] = self.place_table.get_place(world, after)
        goal = self._goal[row]
        return float(goal[before] - goal[after]) if len(goal) else 0.0

    def _answer(self, row: int, named: int) -> None:
        """Note the object that an agent names as it stops."""
        packed, episode = self._packed[row], self.episodes[self.current[row]]
        if not 0 < named <= len(packed.names):
            return
        self.answers[row] = packed.objects[named - 1]
        centre = packed.boxes[named - 1, :2]
        self._named[row] = metrics.is_right_object(
            episode,
            int(self.places[row]),
            int(packed.truth[named - 1]),
            (float(centre[0]), float(centre[1])),
        )

    def _field(self, number: int, world: GraphWorld, episode: VLNEpisode) -> Array:
        """Return the distance of every place to the nearest goal, empty where it is held back."""
        known = self._fields.get(number)
        if known is None:
            has = episode.has_truth
            known = metrics.goal_distances(world.distances, episode) if has else np.zeros(0)
            self._fields[number] = known
        return known

    def _truth(
        self, chosen: Sequence[int], index: NDArray[np.int64], candidates: NDArray[np.int64]
    ) -> Observation:
        fields = [self._goal[r] for r in chosen]
        beyond = np.stack([f[c] for f, c in zip(fields, candidates, strict=True)])
        return {
            "goal_distance": np.array(
                [f[p] for f, p in zip(fields, self.places[index], strict=True)], np.float32
            ),
            "candidate_goal_distances": np.where(candidates < 0, np.inf, beyond).astype(np.float32),
            "target": np.array([self._target(r) for r in chosen], np.int64),
        }

    def _target(self, row: int) -> int:
        """Return the id under which the object asked for is observed here, see `VLNBatch`."""
        wanted, packed = self.episodes[self.current[row]].target, self._packed[row]
        if wanted < 0 or not packed.predicted:
            return wanted
        found = np.flatnonzero(packed.truth == wanted)
        return int(packed.objects[found[0]]) if len(found) else -1

    def _neighbour_canvases(
        self, worlds: Sequence[GraphWorld], candidates: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        found = np.zeros((*candidates.shape, len(SOS_CATEGORIES), HEIGHT, WIDTH), bool)
        for i, j in np.argwhere(candidates >= 0):
            found[i, j] = worlds[i].observe_place(int(candidates[i, j])).canvas
        return found
