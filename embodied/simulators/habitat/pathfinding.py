"""habitat-sim's path finder and greedy follower, answered by our navigation grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.errors import NavigationError
from embodied.simulators.base import AgentSpec
from embodied.simulators.habitat.convert import compute_yaw, to_position
from embodied.simulators.pathfinder import DistanceField, PathFinder

Array = NDArray[np.float64]

LOOKAHEAD = 8
"""Forward steps the follower searches when no single step gets it nearer."""

BEAM = 48
"""Places the search keeps after each of those steps."""


class HabitatPathFinder:
    """The queries of `habitat_sim.PathFinder` that need no habitat-sim types.

    Args:
        finder: answers them.
        rng: draws the random points.
    """

    is_loaded = True

    def __init__(self, finder: PathFinder, rng: np.random.Generator) -> None:
        self.finder = finder
        self.rng = rng

    def seed(self, seed: int) -> None:
        """Restart the random points."""
        self.rng = np.random.default_rng(seed)

    @property
    def navigable_area(self) -> float:
        """All islands together [m^2]."""
        return self.finder.navigable_area

    @property
    def num_islands(self) -> int:
        """Parts with no way between them."""
        return self.finder.num_islands

    def island_area(self, island_index: int = -1) -> float:
        """Return the area of one island, or of all (-1) [m^2]."""
        if island_index < 0:
            return self.finder.navigable_area
        surface = self.finder.surface
        return int((surface.island == island_index).sum()) * surface.cell**2

    def get_bounds(self) -> tuple[Array, Array]:
        """Return the lowest and highest corner of the scene [m]."""
        low, high = self.finder.bounds
        return low.copy(), high.copy()

    def get_topdown_view(self, meters_per_pixel: float, height: float) -> NDArray[np.bool_]:
        """Return the navigable mask within 0.5 m of a height, rows along z, columns along x."""
        return self.finder.get_topdown_view(float(height), float(meters_per_pixel))

    def is_navigable(self, pt: ArrayLike, max_y_delta: float = 0.5) -> bool:
        """Tell whether an agent can stand at a point (3,)."""
        return bool(self.finder.is_navigable(np.asarray(pt, np.float64)[None], max_y_delta)[0])

    def snap_point(self, point: ArrayLike) -> Array:
        """Return the nearest navigable place (3,), NaN when none is near."""
        return self.finder.snap_points(np.asarray(point, np.float64)[None])[0]

    def get_island(self, point: ArrayLike) -> int:
        """Return the island nearest to a point (3,), -1 when none is near."""
        snapped = self.snap_point(point)
        return int(self.finder.get_island(snapped[None])[0]) if np.isfinite(snapped).all() else -1

    def island_radius(self, pt: ArrayLike) -> float:
        """Return the radius of the island a point (3,) is on [m]; 0 off the floor."""
        return float(self.finder.island_radius(np.asarray(pt, np.float64)[None])[0])

    def distance_to_closest_obstacle(self, pt: ArrayLike, max_search_radius: float = 2.0) -> float:
        """Return how far the edge of the navigable area is [m], at most `max_search_radius`."""
        return float(
            self.finder.distance_to_closest_obstacle(
                np.asarray(pt, np.float64)[None], max_search_radius
            )[0]
        )

    def get_random_navigable_point(self, max_tries: int = 10, island_index: int = -1) -> Array:
        """Draw a point (3,), uniform by area, of one island or of all (-1).

        `max_tries` is habitat-sim's; the first draw always succeeds here.
        """
        island = None if island_index < 0 else island_index
        return self.finder.sample_points(self.rng, 1, island)[0]

    def get_random_navigable_point_near(
        self, circle_center: ArrayLike, radius: float, max_tries: int = 100, island_index: int = -1
    ) -> Array:
        """Draw a point (3,) within `radius` [m] of a centre, NaN when every try misses."""
        angle = self.rng.uniform(0, 2 * np.pi, max_tries)
        length = radius * np.sqrt(self.rng.random(max_tries))
        points = np.tile(to_position(np.asarray(circle_center)), (max_tries, 1))
        points[:, 0] += length * np.cos(angle)
        points[:, 2] += length * np.sin(angle)
        good = self.finder.is_navigable(points)
        if island_index >= 0:
            good &= self.finder.get_island(points) == island_index
        chosen = points[good][:1]
        return self.finder.snap_points(chosen)[0] if len(chosen) else np.full(3, np.nan)

    def try_step(self, start: ArrayLike, end: ArrayLike) -> Array:
        """Return where a step from start (3,) towards end (3,) ends, sliding along walls."""
        return self.step(start, end, sliding=True)[0]

    def try_step_no_sliding(self, start: ArrayLike, end: ArrayLike) -> Array:
        """Return where a step from start (3,) towards end (3,) ends, stopping at walls."""
        return self.step(start, end, sliding=False)[0]

    def step(self, start: ArrayLike, end: ArrayLike, sliding: bool) -> tuple[Array, bool]:
        """Return where a step ends (3,) and whether it touched something.

        Off the navigable area nothing moves, as in habitat-sim.
        """
        begin, target = to_position(np.asarray(start)), to_position(np.asarray(end))
        if not np.isfinite(self.finder.snap_points(begin[None])).all():
            return begin, True
        places, collided = self.finder.step(begin[None], target[None], sliding)
        return places[0], bool(collided[0])

    def compute_distance_field(self, goals: ArrayLike) -> DistanceField | None:
        """Measure the way to the nearest of the goals (K, 3); None when no goal can be stood at."""
        points = np.asarray(goals, np.float64).reshape(-1, 3)
        if not len(points) or not np.isfinite(self.finder.snap_points(points)).all(axis=1).any():
            return None
        return self.finder.compute_distance_field(points)


class GreedyFollowerError(NavigationError):
    """The follower sees no way to the goal."""


class FollowerSimulator(Protocol):
    """What the follower reads from a simulator."""

    @property
    def agent_spec(self) -> AgentSpec:
        """Step lengths."""

    @property
    def pathfinder(self) -> HabitatPathFinder:
        """Where the body can go."""

    def get_agent_state(self, agent_id: int = 0) -> Any:
        """Position (3,) [m] and rotation."""

    @property
    def rotation(self) -> Array:
        """(4,) xyzw."""


class GreedyFollower:
    """Chooses the discrete action that leads to a goal soonest: turn to the best heading, step.

    When no single step gets nearer (a corner, a goal closer than a step), it searches sequences of
    up to `LOOKAHEAD` steps for one that does.

    Args:
        body: the simulator whose agent walks.
        goal_radius: close enough [m]; None = three quarters of a step.
        stop_key: what to return to stop.
        forward_key: what to return to walk.
        left_key: what to return to turn left.
        right_key: what to return to turn right.
    """

    def __init__(
        self,
        body: FollowerSimulator,
        goal_radius: float | None = None,
        *,
        stop_key: Any = None,
        forward_key: Any = "move_forward",
        left_key: Any = "turn_left",
        right_key: Any = "turn_right",
    ) -> None:
        self._body = body
        self.goal_radius = 0.75 * body.agent_spec.forward if goal_radius is None else goal_radius
        self._stop, self._forward = stop_key, forward_key
        self._left, self._right = left_key, right_key
        self.reset()

    def reset(self) -> None:
        """Forget the goal and the plan."""
        self._goal = np.zeros((0, 3))
        self._field: DistanceField | None = None
        self._finder: HabitatPathFinder | None = None
        # (action, position before it, yaw before it): a plan holds only where it was made for
        self._plan: deque[tuple[Any, Array, float]] = deque()

    def next_action_along(self, goal_pos: ArrayLike) -> Any:
        """Return the next action towards a goal (3,), or the nearest of several (K, 3).

        Raises:
            GreedyFollowerError: the goal cannot be reached from here.
        """
        goal = np.asarray(goal_pos, np.float64).reshape(-1, 3)
        if self._finder is not self._body.pathfinder or not np.array_equal(goal, self._goal):
            self.reset()
            self._goal, self._finder = goal, self._body.pathfinder
            self._field = self._finder.compute_distance_field(goal)
        position = np.asarray(self._body.get_agent_state().position, np.float64)
        yaw = compute_yaw(self._body.rotation)
        distance = (
            np.inf if self._field is None else float(self._field.get_distances(position[None])[0])
        )
        if self._field is None or not np.isfinite(distance):
            raise GreedyFollowerError(f"no way leads from {position.tolist()} to {goal.tolist()}")
        if distance <= self.goal_radius:
            self._plan.clear()
            return self._stop
        if not self._plan or not _same(self._plan[0], position, yaw):
            self._plan = self._make_plan(self._field, position, yaw, distance)
        return self._plan.popleft()[0]

    def _make_plan(
        self, field: DistanceField, position: Array, yaw: float, distance: float
    ) -> deque[tuple[Any, Array, float]]:
        turn = np.deg2rad(self._body.agent_spec.turn)
        plan: deque[tuple[Any, Array, float]] = deque()
        for turns in self._search(field, position, yaw, distance):
            for _ in range(abs(turns)):
                plan.append((self._left if turns > 0 else self._right, position, yaw))
                yaw += np.copysign(turn, turns)
            plan.append((self._forward, position, yaw))
            position = self._step(position[None], np.array([yaw]))[0][0]
        return plan

    def _search(
        self, field: DistanceField, position: Array, yaw: float, distance: float
    ) -> list[int]:
        """Return the turns (+ = left) before each forward step of the best short walk."""
        spec = self._body.agent_spec
        count = max(1, round(360 / spec.turn))
        turns = np.arange(count) - (count - 1) // 2
        places, headings = position[None], np.array([yaw])
        walks: list[list[int]] = [[]]
        nearest: tuple[float, list[int]] = (np.inf, [])
        for _ in range(LOOKAHEAD):
            ahead = (headings[:, None] + np.deg2rad(spec.turn) * turns).ravel()
            ends, collided = self._step(np.repeat(places, count, axis=0), ahead)
            left = field.get_distances(ends)
            # Touching a wall without sliding can hold the agent for good; turning costs a little.
            cost = left + collided * (0.05 if spec.sliding else 1.0)
            cost += 0.002 * np.tile(np.abs(turns), len(places))
            order = np.argsort(cost, kind="stable")
            best = order[0]
            walk = [*walks[best // count], int(turns[best % count])]
            if cost[best] < nearest[0]:
                nearest = (float(cost[best]), walk)
            good = distance - left[best] >= 0.4 * spec.forward or left[best] <= self.goal_radius
            if good and (spec.sliding or not collided[best]):
                return walk
            cells = np.unique((ends[order] / 0.05).round(), axis=0, return_index=True)[1]
            kept = order[np.sort(cells)][:BEAM]
            walks = [[*walks[k // count], int(turns[k % count])] for k in kept]
            places, headings = ends[kept], ahead[kept]
        if nearest[0] >= distance:
            raise GreedyFollowerError(f"no sequence of steps leads on from {position.tolist()}")
        return nearest[1]

    def _step(self, places: Array, headings: Array) -> tuple[Array, NDArray[np.bool_]]:
        spec, finder = self._body.agent_spec, self._body.pathfinder.finder
        ahead = np.stack([-np.sin(headings), np.zeros_like(headings), -np.cos(headings)], axis=1)
        return finder.step(places, places + spec.forward * ahead, spec.sliding)


def _same(planned: tuple[Any, Array, float], position: Array, yaw: float) -> bool:
    off = (planned[2] - yaw + np.pi) % (2 * np.pi) - np.pi
    return bool(np.allclose(planned[1], position, atol=1e-4) and abs(off) < 1e-3)


def find_straight_path(
    finder: PathFinder, start: Sequence[float], end: Sequence[float]
) -> list[Array]:
    """Return the corners of the shortest way as a list of (3,), empty when there is none."""
    return list(finder.find_shortest_path(to_position(start), to_position(end)))
