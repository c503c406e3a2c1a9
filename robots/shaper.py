"""From targets to setpoints: jerk-limited, and never without a checked way to stop.

Every period Ruckig (Berscheid and Kroeger 2021) plans from the last setpoint to the target and the
shaper looks at the next step of that plan together with the braking path that would begin there. If
the guard finds nothing wrong with both, the step is taken and the braking path is kept. Otherwise
the arm takes the next step of the braking path kept before, which was checked as a whole. So by
induction every setpoint ever given is within all limits, and from every one of them the arm can
come to rest within all limits, even if no target arrives ever again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import dist

import numpy as np
from numpy.typing import NDArray

from embodied.extras import require_extra
from robots.arm import Joints
from robots.guard import find_violation
from robots.intent import CommandKind
from robots.kernels import plan_braking
from robots.kinematics import Kinematics
from robots.limits import ArmLimits

with require_extra("The shaper of an arm's setpoints"):
    from ruckig import (
        ControlInterface,
        InputParameter,
        Result,
        Ruckig,
        RuckigError,
        Synchronization,
        Trajectory,
    )

# Share of the tool's speed that plans aim for, so that they rarely meet the guard.
AIM = 0.85
# Below this the arm counts as at rest [rad/s].
REST = 1e-4
# A setpoint this near to one of a path lies on it [rad].
ON_PATH = 1e-6


@dataclass(frozen=True)
class JointMotion:
    """Position [rad], velocity [rad/s] and acceleration [rad/s^2] of the setpoint, (J,) each."""

    positions: Joints
    velocities: Joints
    accelerations: Joints


class Shaper:
    """Makes setpoints for one arm.

    Args:
        limits: in force.
        kinematics: of the arm.
        period: of the driver [s].
    """

    def __init__(self, limits: ArmLimits, kinematics: Kinematics, period: float) -> None:
        self.limits, self.kinematics, self.period = limits, kinematics, period
        count = limits.joints
        self._planner, self._plan = Ruckig(count, period), Trajectory(count)
        self._to_place, self._to_speed = InputParameter(count), InputParameter(count)
        self._to_place.synchronization = Synchronization.Phase
        self._to_place.target_velocity = [0.0] * count
        self._to_speed.control_interface = ControlInterface.Velocity
        for request in (self._to_place, self._to_speed):
            request.max_velocity = limits.velocity.tolist()
            request.max_acceleration = limits.acceleration.tolist()
            request.max_jerk = limits.jerk.tolist()
        self.reset(np.zeros(count))

    def reset(self, positions: Joints) -> None:
        """Begin at rest at measured joint angles, (J,) [rad]."""
        self._before = np.tile(np.asarray(positions, np.float64), (3, 1))
        still = np.zeros(self.limits.joints)
        self._take(np.array([[self._before[0]], [still], [still]]), 0)
        self.blocked_reason = ""

    @property
    def at_rest(self) -> bool:
        """Whether the setpoint stands still."""
        return bool(np.abs(self.motion.velocities).max() < REST)

    def step(self, target: Joints | None, kind: CommandKind = CommandKind.POSITION) -> JointMotion:
        """Return the next setpoint.

        Args:
            target: (J,) joint angles [rad], velocities [rad/s] for `CommandKind.VELOCITY`, or a (K,
                3, J) path for `CommandKind.PATH`, that the guard has allowed; None brakes.
            kind: which of them.

        Returns:
            The motion to command now. `blocked` says what kept it from making for the target.
        """
        self.blocked_reason = ""
        if target is not None:
            try:
                wanted = self._next(target, kind)
            except RuckigError as error:
                # It gives up on a way of 1e-14 rad, say. The way to rest needs no plan.
                self.blocked_reason = f"no plan: {str(error).strip().splitlines()[0]}"
            else:
                path = plan_braking(wanted, self.limits.bounds, self.period)
                wrong = find_violation(
                    self._before, path[0], self.limits, self.kinematics, self.period
                )
                if wrong is None:
                    return self._take(path, 0)
                self.blocked_reason = wrong
        return self._take(self._path, min(self._at + 1, self._path.shape[1] - 1))

    def _take(self, path: NDArray[np.float64], at: int) -> JointMotion:
        """Go to a row of a path that was checked as a whole: (3, K, J), ending at rest."""
        self._path, self._at = path, at
        self.motion = JointMotion(path[0, at], path[1, at], path[2, at])
        self._before[:2] = self._before[1:]
        self._before[2] = path[0, at]
        return self.motion

    def _next(self, target: Joints, kind: CommandKind) -> NDArray[np.float64]:
        """Plan to the target; return (3, J) where the plan is one period from now.

        Raises:
            RuckigError: it finds none.
        """
        now = self.motion
        if kind is CommandKind.PATH:
            return self._along(target)
        if kind is CommandKind.VELOCITY:
            request = self._to_speed
            request.target_velocity = (target * self._slowdown(now.positions, target)).tolist()
        else:
            request = self._to_place
            request.target_position = target.tolist()
            way = target - now.positions
            longest = float((np.abs(way) / self.limits.velocity).max())
            slow = self._slowdown(now.positions, way / longest) if longest > 1e-9 else 1.0
            request.max_velocity = (self.limits.velocity * slow).tolist()
        request.current_position = now.positions.tolist()
        request.current_velocity = now.velocities.tolist()
        request.current_acceleration = now.accelerations.tolist()
        result = self._planner.calculate(request, self._plan)
        if result not in (Result.Working, Result.Finished):
            raise RuckigError(f"no motion within the limits from here: {result}")
        return np.array(self._plan.at_time(self.period))

    def _along(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (3, J) setpoint of a path that follows where it is now."""
        far = np.abs(path[:, 0] - self.motion.positions).max(axis=1)
        here = int(far.argmin())
        if far[here] > ON_PATH:
            raise RuckigError(f"the nearest setpoint of the path is {far[here]:.2g} rad away")
        while here + 1 < len(far) and far[here + 1] <= far[here]:  # rests are not kept
            here += 1
        return path[min(here + 1, len(path) - 1)]

    def _slowdown(self, positions: Joints, velocities: Joints) -> float:
        """Return the share of these joint velocities that keeps the tool below its speed."""
        ahead = 1e-3
        tools = self.kinematics.compute_tip(np.array((positions, positions + ahead * velocities)))
        speed = dist(*tools.tolist()) / ahead
        return min(1.0, AIM * self.limits.safety.tool_speed / max(speed, 1e-9))
