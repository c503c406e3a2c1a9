"""PointNav by map: plan to the goal on the live map, the unknown taken for free, and walk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.policies.base import PolicyTask, act_per_environment, require_observations
from embodied.policies.mapping.mapper import BodyConfig, Mapper
from embodied.types import STOP, DiscreteActions, Observations


@dataclass(frozen=True)
class MapPlannerConfig:
    """How to walk to a point.

    Attributes:
        body: the agent and its camera.
        stop_distance: distance to the goal at which to stop [m].
        replan_interval: steps between plans.
    """

    body: BodyConfig = field(default_factory=BodyConfig)
    stop_distance: float = 0.18
    replan_interval: int = 3


class MapPlanner:
    """The walking agent of one episode.

    Attributes:
        mapper: map, pose and path.
        goal: (3,) in the frame of the episode's start [m].
    """

    def __init__(self, config: MapPlannerConfig) -> None:
        self.config = config
        self.mapper = Mapper(config.body)
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.mapper.reset()
        self.goal = np.zeros(3)
        self._age = self.config.replan_interval

    def observe(
        self, depth: NDArray[np.float32], pose: NDArray[np.float32], goal: NDArray[np.float32]
    ) -> None:
        """Take in a depth image (H, W), the pose (4,) and the polar goal (2,) [m, rad, + =
        left].
        """
        self.mapper.observe(depth, pose)
        heading = self.mapper.yaw + float(goal[1])
        direction = np.array([-np.sin(heading), 0.0, -np.cos(heading)])
        self.goal = self.mapper.position + float(goal[0]) * direction

    def act(self) -> int:
        """Choose the next action."""
        mapper, config = self.mapper, self.config
        if np.hypot(*(self.goal - mapper.position)[[0, 2]]) <= config.stop_distance:
            mapper.clear_last_action()
            return STOP
        self._age += 1
        if self._age >= config.replan_interval or mapper.bumped:
            self._age = 0
            self._plan()
        return mapper.follow_path()

    def _plan(self) -> None:
        mapper = self.mapper
        low = np.minimum(self.goal, mapper.position) - 1.0
        high = np.maximum(self.goal, mapper.position) + 1.0
        mapper.grid.grow_to_cover((low[0], low[2]), (high[0], high[2]))
        gap = float(np.abs(self.goal - mapper.position).max())
        mapper.plan_costs(optimistic=True, margin=max(1.0, gap + 1.0))
        if mapper.set_path(mapper.to_window_cell(self.goal)):
            return
        # The goal's own cell is blocked or walled in as far as the map knows: get as near as
        # possible.
        row, column = mapper.to_window_cell(self.goal)
        height, width = mapper.travel_costs.shape
        grid_row, grid_column = np.ogrid[:height, :width]
        away = np.hypot(grid_row - row, grid_column - column) * mapper.grid.cell_size
        merit = np.where(
            np.isfinite(mapper.travel_costs), 10.0 * away + mapper.travel_costs, np.inf
        )
        mapper.set_best_path(merit)


class MapPlannerPolicy:
    """Walk to the goal in every environment of a batch; needs "depth", "pose" and the polar "goal".

    Args:
        config: how to walk.
    """

    config_class: ClassVar[type] = MapPlannerConfig

    def __init__(self, config: MapPlannerConfig | None = None) -> None:
        self.config = config or MapPlannerConfig()
        self.agents: list[MapPlanner] = []

    @classmethod
    def from_config(cls, config: MapPlannerConfig, task: PolicyTask) -> MapPlannerPolicy:
        """Build it for a task; it believes to have the task's body and camera."""
        return cls(config if task.body is None else replace(config, body=task.body))

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose one action per agent; see `Policy`."""
        seen = require_observations(observations, "depth", "pose", "goal")
        return act_per_environment(self.agents, lambda: MapPlanner(self.config), seen, first)
