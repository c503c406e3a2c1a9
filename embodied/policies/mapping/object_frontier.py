"""Find an object of a class: explore by frontiers, look at the semantic image, walk up, stop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.policies.base import PolicyTask, act_per_environment, require_observations
from embodied.policies.mapping.frontier import FrontierConfig, FrontierExplorer
from embodied.policies.mapping.mapper import compute_camera_pose
from embodied.policies.mapping.stall import StallCounter
from embodied.types import STOP, DiscreteActions, Observations
from maps.grid.occupancy import OccupancyMap
from maps.semantics import SemanticMap


@dataclass(frozen=True)
class ObjectFrontierConfig:
    """How to search.

    Attributes:
        frontier: how to explore until the object is seen.
        approach_distance: distance to the object at which to stop [m].
        accept_distance: distance at which stopping is still worth it when no nearer place is
            reachable [m].
        min_pixels: share of the image an object must fill to be believed.
        min_votes: frames that must agree on a place.
    """

    frontier: FrontierConfig = field(default_factory=FrontierConfig)
    approach_distance: float = 0.6
    accept_distance: float = 1.0
    min_pixels: float = 0.0006
    min_votes: int = 2


class ObjectExplorer:
    """The searching agent of one episode.

    Attributes:
        explorer: map, pose and frontiers.
        goal: class id it looks for.
        approaching: whether it is walking up to something.
    """

    def __init__(self, config: ObjectFrontierConfig) -> None:
        self.config = config
        self.explorer = FrontierExplorer(config.frontier)
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.explorer.reset()
        self.goal = -1
        self.approaching = False
        self._classes: dict[int, SemanticMap] = {}
        self._age = 0
        self._stall = StallCounter()
        self._again = True

    def observe(
        self,
        depth: NDArray[np.float32],
        pose: NDArray[np.float32],
        semantic: NDArray[np.int32],
        goal: int,
    ) -> None:
        """Take in one observation: images (H, W), pose (4,), class id."""
        mapper = self.explorer.mapper
        self.goal = int(goal)
        self.explorer.observe(depth, pose)
        self._layer(mapper.grid, depth.size).integrate_labels(
            semantic.reshape(depth.shape[:2]),
            depth.reshape(depth.shape[:2]),
            compute_camera_pose(mapper.body, mapper.position, mapper.yaw),
            mapper.body.hfov,
            (self.goal,),
        )

    def _layer(self, grid: OccupancyMap, pixels: int) -> SemanticMap:
        """The class layer of the present floor."""
        key = id(grid)
        if key not in self._classes:
            least = max(3, round(self.config.min_pixels * pixels))
            self._classes[key] = SemanticMap(grid, min_pixels=least)
        return self._classes[key]

    def act(self) -> int:
        """Choose the next action."""
        mapper = self.explorer.mapper
        layer = self._classes[id(mapper.grid)]
        if self._head_for(layer):
            action = self._approach(layer)
            if action is not None:
                return action
        self.approaching = False
        action = self.explorer.act()
        if action == STOP and self._again:
            # Nothing left to see and nothing found: look again at what was given up.
            self._again = False
            self.explorer.retry_frontiers()
            action = self.explorer.act()
        return action

    def _head_for(self, layer: SemanticMap) -> bool:
        """Plan to the best place beside an object of the class; False if none is known or
        reachable.
        """
        config, mapper = self.config, self.explorer.mapper
        if self.approaching and self._age < config.frontier.replan_interval and not mapper.bumped:
            self._age += 1
            return True
        if not (layer.get_votes(self.goal) >= config.min_votes).any():
            return False
        mapper.plan_costs()
        rows, columns = mapper.window
        gap = layer.compute_distance(self.goal, config.min_votes)[rows, columns]
        reachable = np.isfinite(mapper.travel_costs) & (gap <= config.accept_distance)
        if not reachable.any():
            return False
        # walk on until `approach_distance`; the last metre is worth a detour
        merit = mapper.travel_costs + 4.0 * np.maximum(gap - config.approach_distance, 0)
        merit = np.where(reachable, merit, np.inf)
        self.approaching, self._age = True, 0
        return mapper.set_best_path(merit)

    def _approach(self, layer: SemanticMap) -> int | None:
        """Walk to the chosen place, face the object and stop; None when that does not work out."""
        config, mapper = self.config, self.explorer.mapper
        left = mapper.get_remaining_length()
        self._stall.update(left)
        gap, spot = self._nearest_spot(layer)
        if left > 0.5 * mapper.body.forward and self._stall.steps <= config.frontier.patience:
            return mapper.follow_path()
        if gap <= config.accept_distance:
            turn = mapper.turn_to(spot)
            if turn is None or self._stall.steps > 2 * config.frontier.patience:
                mapper.clear_last_action()
                return STOP
            return turn
        layer.clear_class(self.goal, spot, 0.5)
        self.approaching = False
        self._stall.reset()
        return None

    def _nearest_spot(self, layer: SemanticMap) -> tuple[float, NDArray[np.float64]]:
        """Distance to the nearest cell of the class [m] and its position (3,)."""
        mapper = self.explorer.mapper
        cells = np.argwhere(layer.get_votes(self.goal) >= self.config.min_votes)
        if len(cells) == 0:
            return np.inf, mapper.position
        points = mapper.grid.to_world(cells)
        gap = np.hypot(*(points - mapper.position)[:, [0, 2]].T)
        best = int(np.argmin(gap))
        return float(gap[best]), points[best]


class ObjectFrontierPolicy:
    """Search in every environment of a batch; needs "depth", "pose", "semantic" and "goal".

    Args:
        config: how to search.
    """

    config_class: ClassVar[type] = ObjectFrontierConfig

    def __init__(self, config: ObjectFrontierConfig | None = None) -> None:
        self.config = config or ObjectFrontierConfig()
        self.agents: list[ObjectExplorer] = []

    @classmethod
    def from_config(cls, config: ObjectFrontierConfig, task: PolicyTask) -> ObjectFrontierPolicy:
        """Build it for a task; it believes to have the task's body and camera."""
        if task.body is not None:
            config = replace(config, frontier=replace(config.frontier, body=task.body))
        return cls(config)

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose one action per agent; see `Policy`."""
        seen = require_observations(observations, "depth", "pose", "semantic", "goal")
        return act_per_environment(self.agents, lambda: ObjectExplorer(self.config), seen, first)
