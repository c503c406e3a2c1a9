"""habitat-lab's task actions and follower that reach into habitat-sim, for the embedded simulator.

Registered under the stock names, so stock configurations need no change; with any other simulator
they behave as before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from habitat.core.embodied_task import SimulatorTaskAction
from habitat.core.registry import registry
from habitat.sims.habitat_simulator.actions import HabitatSimActions
from habitat.tasks.nav import nav

from embodied.simulators.habitat import convert
from embodied.simulators.habitat.lab import EmbodiedSimulator
from embodied.simulators.habitat.pathfinding import GreedyFollower, GreedyFollowerError


class _Tilt:
    """Tilts the embedded simulator's cameras; leaves other simulators to the stock action."""

    _sim: Any

    def _move_camera_vertical(self, amount: float) -> None:
        if isinstance(self._sim, EmbodiedSimulator):
            self._sim.tilt_cameras(amount)
        else:
            super()._move_camera_vertical(amount)  # type: ignore[misc]


class LookUpAction(_Tilt, nav.LookUpAction):
    """Look up by `tilt_angle`."""


class LookDownAction(_Tilt, nav.LookDownAction):
    """Look down by `tilt_angle`."""


class VelocityAction(nav.VelocityAction):
    """Drive with a linear and an angular velocity for `time_step` seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not isinstance(kwargs["sim"], EmbodiedSimulator):
            super().__init__(*args, **kwargs)
            return
        SimulatorTaskAction.__init__(self, *args, **kwargs)
        config = kwargs["config"]
        self.min_lin_vel, self.max_lin_vel = config.lin_vel_range
        self.min_ang_vel, self.max_ang_vel = config.ang_vel_range
        self.min_abs_lin_speed = config.min_abs_lin_speed
        self.min_abs_ang_speed = config.min_abs_ang_speed
        self.time_step = config.time_step

    def step(
        self,
        *args: Any,
        task: Any,
        linear_velocity: float,
        angular_velocity: float,
        time_step: float | None = None,
        allow_sliding: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Move, then turn, as habitat-sim integrates velocities.

        Args:
            *args: not used.
            **kwargs: not used.
            task: told to stop when both speeds are below their thresholds.
            linear_velocity: in [-1, 1], scaled to the configured range [m/s].
            angular_velocity: in [-1, 1], scaled to the configured range [deg/s].
            time_step: duration [s]; None = as configured.
            allow_sliding: None = as configured.
        """
        sim = self._sim
        if not isinstance(sim, EmbodiedSimulator):
            return super().step(
                *args,
                task=task,
                linear_velocity=linear_velocity,
                angular_velocity=angular_velocity,
                time_step=time_step,
                allow_sliding=allow_sliding,
                **kwargs,
            )
        seconds = float(self.time_step if time_step is None else time_step)
        sliding = sim.agent_spec.sliding if allow_sliding is None else allow_sliding
        linear = _scale(linear_velocity, self.min_lin_vel, self.max_lin_vel)
        angular = _scale(angular_velocity, self.min_ang_vel, self.max_ang_vel)
        if abs(linear) < self.min_abs_lin_speed and abs(angular) < self.min_abs_ang_speed:
            task.is_stop_called = True
            return None
        yaw = convert.compute_yaw(sim.rotation)
        sim.move_agent(linear * seconds * np.array([-np.sin(yaw), 0.0, -np.cos(yaw)]), sliding)
        sim.rotation = convert.turn_rotation(sim.rotation, np.deg2rad(angular) * seconds)
        return sim.get_sensor_observations()


def _scale(value: Any, low: float, high: float) -> float:
    return float(low + (np.asarray(value, np.float64).reshape(-1)[0] + 1) / 2 * (high - low))


def register_simulator(name: str) -> None:
    """Enter the simulator into habitat-lab's registry."""
    registry.register_simulator(EmbodiedSimulator, name=name)


def register_actions() -> None:
    """Replace the three stock actions, unless somebody else already has."""
    for action in (LookUpAction, LookDownAction, VelocityAction):
        stock = getattr(nav, action.__name__)
        if registry.get_task_action(action.__name__) is stock:
            registry.register_task_action(action, name=action.__name__)


class ShortestPathFollower:
    """habitat-lab's oracle of the same name, for the embedded simulator.

    Args:
        sim: the simulator.
        goal_radius: close enough [m].
        return_one_hot: return one-hot vectors instead of action numbers.
        stop_on_error: stop when no way leads on, instead of raising.
    """

    def __init__(
        self,
        sim: EmbodiedSimulator,
        goal_radius: float,
        return_one_hot: bool = True,
        stop_on_error: bool = True,
    ) -> None:
        self._return_one_hot = return_one_hot
        self._stop_on_error = stop_on_error
        self._follower = GreedyFollower(
            sim,
            goal_radius,
            stop_key=HabitatSimActions.stop,
            forward_key=HabitatSimActions.move_forward,
            left_key=HabitatSimActions.turn_left,
            right_key=HabitatSimActions.turn_right,
        )

    def get_next_action(self, goal_pos: Sequence[float]) -> Any:
        """Return the next action towards a goal (3,), or the nearest of several (K, 3).

        Raises:
            GreedyFollowerError: there is no way on and `stop_on_error` is off.
        """
        try:
            action = self._follower.next_action_along(goal_pos)
        except GreedyFollowerError:
            if not self._stop_on_error:
                raise
            action = HabitatSimActions.stop
        return action_to_one_hot(action) if self._return_one_hot else action


def action_to_one_hot(action: int) -> np.ndarray:
    """Return a float32 vector over all known actions with a one at `action`."""
    return np.eye(len(HabitatSimActions), dtype=np.float32)[action]


def provide_follower() -> None:
    """Fill in the follower where habitat-lab leaves it out for want of habitat-sim.

    `import habitat.tasks.nav.shortest_path_follower` works, and so does the episode generator.
    """
    from habitat.datasets import utils
    from habitat.datasets.pointnav import pointnav_generator

    name = "habitat.tasks.nav.shortest_path_follower"
    module = ModuleType(name, "Shortest-path follower of the embedded simulator.")
    vars(module)["ShortestPathFollower"] = ShortestPathFollower
    vars(module)["action_to_one_hot"] = action_to_one_hot
    sys.modules.setdefault(name, module)
    vars(utils).setdefault("ShortestPathFollower", ShortestPathFollower)
    vars(pointnav_generator).setdefault("GreedyFollowerError", GreedyFollowerError)
