"""The shortest-path expert: follow the goal's distance field greedily with the agent's own moves.

Every heading the agent can reach by turning is tried with one real forward move (walls and sliding
included); the move that ends nearest to the goal wins. Same idea as Habitat's
GreedyGeodesicFollower.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import AgentSpec
from embodied.simulators.pathfinder import DistanceField, PathFinder
from embodied.types import FORWARD, LEFT, RIGHT, STOP

TURN_COST = 0.01
"""Metres one turn is worth: breaks ties towards the heading at hand."""


class GeodesicFollower:
    """Chooses the expert's action; remembers the heading it is turning to.

    Args:
        paths: the scene's navigation grid.
        distances: distance field of the goals.
        agent: step and turn sizes.
        radius: stop within this geodesic distance [m].
    """

    def __init__(
        self, paths: PathFinder, distances: DistanceField, agent: AgentSpec, radius: float
    ) -> None:
        self._paths, self._distances, self._agent, self._radius = paths, distances, agent, radius
        count = max(1, round(360.0 / agent.turn))
        turns = (np.arange(count) + count // 2) % count - count // 2
        self._turns = turns[np.argsort(np.abs(turns), kind="stable")]
        self._at: tuple[float, float] | None = None
        self._yaw = 0.0
        self._left = 0

    def get_next_action(self, position: NDArray[np.float64], yaw: float, distance: float) -> int:
        """Return the expert's action.

        Args:
            position: (3,) feet [m].
            yaw: heading [rad].
            distance: the field's value at `position` [m].
        """
        if distance <= self._radius:
            return STOP
        here = (float(position[0]), float(position[2]))
        if here != self._at or self._yaw != yaw:
            self._left = self._choose(position, yaw)
        action = FORWARD if self._left == 0 else LEFT if self._left > 0 else RIGHT
        # What the plan expects next: same place, one turn further on.
        turn = np.deg2rad(self._agent.turn) * np.sign(self._left)
        self._at = here if self._left else None
        self._left -= int(np.sign(self._left))
        self._yaw = float((yaw + turn + np.pi) % (2 * np.pi) - np.pi)
        return action

    def _choose(self, position: NDArray[np.float64], yaw: float) -> int:
        """Return how many turns (positive left) lead to the best forward move."""
        headings = yaw + np.deg2rad(self._agent.turn) * self._turns
        starts = np.repeat(position[None], len(headings), axis=0)
        targets = starts.copy()
        targets[:, 0] -= self._agent.forward * np.sin(headings)
        targets[:, 2] -= self._agent.forward * np.cos(headings)
        ends, _ = self._paths.step(starts, targets, self._agent.sliding)
        cost = self._distances.get_distances(ends) + TURN_COST * np.abs(self._turns)
        return int(self._turns[int(np.argmin(cost))])
