"""Places of a graph grown while walking: where the agent stood, and ghosts it could walk to next.

To a policy that thinks in graphs this looks like a navigation graph that unfolds: a ghost is a
neighbour not entered yet. Ghosts are points on the agent's own live map (`maps.graph.waypoints`).
Numbers are kept: a ghost that is walked to becomes the place of that number, wherever the walk
ended, and the ways between places stay once they are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.policies.mapping.mapper import Mapper, compute_camera_pose
from maps.graph.waypoints import SLACK, WaypointProposalSpec, propose_waypoints, thin_points
from maps.grid.frontiers import extract_frontiers
from maps.panorama.equirectangular import HFOV, get_view_yaw, split_depth
from maps.paths.planning import is_line_clear

Array = NDArray[np.float64]


class PanoramaMapper(Mapper):
    """A mapper whose depth images are equirectangular with north in the middle."""

    def _integrate(self, depth: NDArray[np.float32]) -> None:
        floor = float(self.position[1])
        for number, view in enumerate(split_depth(depth, width=48, height=120)):
            pose = compute_camera_pose(self.body, self.position, get_view_yaw(number))
            self.grid.integrate_depth(view, pose, HFOV, floor=floor)


@dataclass(frozen=True)
class LiveGraphConfig:
    """How the graph grows.

    Attributes:
        proposals: where ghosts lie.
        merge: ending a walk this near a place that was not its target is no new place [m].
        longest: farthest place that counts as a neighbour [m].
        min_information: borders to the unknown that promise less area get no ghost [m^2].
        detour: a neighbour is left out when the way over another one is at most this much longer.
        max_neighbours: neighbours offered at a place.
    """

    proposals: WaypointProposalSpec = field(default_factory=WaypointProposalSpec)
    merge: float = 0.5
    longest: float = 3.5
    min_information: float = 1.0
    detour: float = 1.2
    max_neighbours: int = 16

    def __post_init__(self) -> None:
        if self.max_neighbours < 1 or not 0 < self.merge < self.longest:
            raise ConfigError(
                f"most = {self.max_neighbours} must be at least 1 and merge = {self.merge} m lie "
                f"between 0 "
                f"and longest = {self.longest} m"
            )


class LiveGraph:
    """The graph of one episode.

    Attributes:
        positions: of all places and ghosts, (3,) each, relative to the start [m].
        visited: whether each was entered.
        current: where the agent stands, -1 before the first.
    """

    def __init__(self, config: LiveGraphConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.positions: list[Array] = []
        self.visited: list[bool] = []
        self.current = -1
        self._near: list[set[int]] = []

    def visit_place(self, mapper: Mapper, target: int = -1) -> int:
        """Stand somewhere and see where to go from here.

        Args:
            mapper: the live map, with the agent's position.
            target: the place walked to, -1 for none (the start).

        Returns:
            The number of the place.
        """
        here = mapper.position.copy()
        if target < 0:
            gaps = [float(np.linalg.norm(here - p)) for p in self.positions]
            nearest = int(np.argmin(gaps)) if gaps else -1
            target = nearest if gaps and gaps[nearest] < self.config.merge else self._add(here)
        self.positions[target] = here
        self.visited[target] = True
        self.current = target
        self._look(mapper)
        return target

    def list_candidates(self) -> list[int]:
        """Return the neighbours of the current place: the ones with a way known first, near ones
        first among them.
        """
        here = self.positions[self.current]
        near = sorted(self._near[self.current])
        near.sort(
            key=lambda p: (not self.visited[p], float(np.linalg.norm(self.positions[p] - here)))
        )
        return near[: self.config.max_neighbours]

    def _add(self, position: Array) -> int:
        self.positions.append(np.asarray(position, np.float64))
        self.visited.append(False)
        self._near.append(set())
        return len(self.positions) - 1

    def _look(self, mapper: Mapper) -> None:
        """Add ghosts around the current place, and ways to what can be walked to straight."""
        mapper.plan_costs(margin=0.5)
        here, cell = self.current, mapper.grid.cell_size
        start = mapper.to_window_cell(mapper.position)
        on_floor = [
            p
            for p in range(len(self.positions))
            if abs(self.positions[p][1] - mapper.position[1]) < mapper.body.storey
        ]
        known = [mapper.to_window_cell(self.positions[p]) for p in on_floor if p != here]
        rows, columns = mapper.window
        clearance = mapper.grid.compute_clearance()[rows, columns]
        spots = propose_waypoints(
            mapper.cell_weights, clearance, start, cell, [*known, start], self._borders(mapper),
            self.config.proposals,
        )  # fmt: skip
        others = [p for p in on_floor if p != here and self._straight(mapper, self.positions[p])]
        fresh = [self._add(mapper.get_cell_center((int(r), int(c)))) for r, c in spots]
        reached = others + fresh
        points = [self.positions[p] for p in reached]
        ways = thin_points(
            self.positions[here], np.array(points).reshape(-1, 3), self.config.detour
        )
        for row in ways:
            self._join(here, reached[row])
        for ghost in fresh:  # proposed because nothing else serves: never lost to thinning
            self._join(here, ghost)

    def _join(self, a: int, b: int) -> None:
        self._near[a].add(b)
        self._near[b].add(a)

    def _straight(self, mapper: Mapper, point: Array) -> bool:
        """Whether a place can be walked to without much of a detour."""
        gap = float(np.hypot(*(point - mapper.position)[[0, 2]]))
        if not 0.3 < gap <= self.config.longest:
            return False
        row, column = mapper.to_window_cell(point)
        # the field weighs cells near walls up to 4 times: what it calls near is near
        cost = float(
            mapper.travel_costs[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].min()
        )
        clear = cost <= 2.0 * self.config.proposals.max_detour * gap + SLACK
        return clear and self._in_sight(mapper, point)

    def _in_sight(self, mapper: Mapper, point: Array) -> bool:
        a, b = mapper.to_window_cell(mapper.position), mapper.to_window_cell(point)
        return bool(
            is_line_clear(mapper.cell_weights, a[0] + 0.5, a[1] + 0.5, b[0] + 0.5, b[1] + 0.5, 8)
        )

    def _borders(self, mapper: Mapper) -> NDArray[np.int64]:
        """Cells of the planning window on borders to the unknown, the most promising first."""
        grid, (rows, columns) = mapper.grid, mapper.window
        found = extract_frontiers(
            grid.free[rows, columns],
            ~grid.explored[rows, columns],
            grid.cell_size,
            first=mapper.window_origin,
            longest=3.0,
        )
        worth = [f for f in found if f.unknown_area >= self.config.min_information]
        worth.sort(key=lambda f: -f.unknown_area)
        spots = [mapper.to_window_cell((f.target[0], 0.0, f.target[1])) for f in worth]
        return np.array(spots, np.int64).reshape(-1, 2)
