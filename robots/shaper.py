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
from math import ceil

import numpy as np
from ruckig import (
    ControlInterface,
    InputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from robots.arm import Joints
from robots.guard import violation
from robots.intent import Kind
from robots.kinematics import Kinematics
from robots.limits import ArmLimits

# Positions, velocities and accelerations as lists; most are looked at once and never sent.
Sample = tuple[list[float], list[float], list[float]]

# Share of the tool's speed that plans aim for, so that they rarely meet the guard.
AIM = 0.85
# Below this the arm counts as at rest [rad/s].
REST = 1e-4


@dataclass(frozen=True)
class Motion:
    """Position [rad], velocity [rad/s] and acceleration [rad/s^2] of the setpoint, (J,) each."""

    positions: Joints
    velocities: Joints
    accelerations: Joints

    @property
    def sample(self) -> Sample:
        """The same as Ruckig takes and gives it."""
        return self.positions.tolist(), self.velocities.tolist(), self.accelerations.tolist()


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
        self._planner = Ruckig(count, period)
        self._plan, self._input = Trajectory(count), InputParameter(count)
        self._brake = InputParameter(count)
        self._brake.control_interface = ControlInterface.Velocity
        self._brake.synchronization = Synchronization.No
        self._brake.target_velocity = [0.0] * count
        for request in (self._input, self._brake):
            request.max_velocity = limits.velocity.tolist()
            request.max_acceleration = limits.acceleration.tolist()
            request.max_jerk = limits.jerk.tolist()
        self.reset(np.zeros(count))

    def reset(self, positions: Joints) -> None:
        """Begin at rest at measured joint angles, (J,) [rad]."""
        still = np.zeros(self.limits.joints)
        self.motion = Motion(np.array(positions, np.float64), still, still)
        self._before = np.tile(self.motion.positions, (3, 1))
        self._stopping = [self.motion.sample]
        self.blocked = ""

    @property
    def at_rest(self) -> bool:
        """Whether the setpoint stands still."""
        return bool(np.abs(self.motion.velocities).max() < REST)

    def step(self, target: Joints | None, kind: Kind = Kind.POSITION) -> Motion:
        """Return the next setpoint.

        Args:
            target: (J,) joint angles [rad], or velocities [rad/s] for `Kind.VELOCITY`, that the
                guard has allowed; None brakes.
            kind: which of the two.

        Returns:
            The motion to command now. `blocked` says what kept it from making for the target.
        """
        self.blocked = ""
        if target is not None:
            try:
                wanted = self._next(target, kind)
                stopping = self._braking(wanted)
            except RuckigError as error:
                # It gives up on a way of 1e-14 rad, say. The way to rest needs no new plan.
                self.blocked = f"no plan: {str(error).strip().splitlines()[0]}"
            else:
                path = np.array([wanted[0], *(sample[0] for sample in stopping)])
                wrong = violation(self._before, path, self.limits, self.kinematics, self.period)
                if wrong is None:
                    return self._take(wanted, stopping)
                self.blocked = wrong
        first, *rest = self._stopping
        return self._take(first, rest or [first])

    def _take(self, sample: Sample, stopping: list[Sample]) -> Motion:
        self.motion = Motion(*(np.array(values) for values in sample))
        self._before = np.vstack([self._before[1:], self.motion.positions])
        self._stopping = stopping
        return self.motion

    def _next(self, target: Joints, kind: Kind) -> Sample:
        """Plan to the target and return where the plan is one period from now."""
        request, now = self._input, self.motion
        self._start(request, now.sample)
        if kind is Kind.VELOCITY:
            request.control_interface = ControlInterface.Velocity
            request.synchronization = Synchronization.Time
            request.target_velocity = (target * self._slowdown(now.positions, target)).tolist()
        else:
            request.control_interface = ControlInterface.Position
            request.synchronization = Synchronization.Phase
            request.target_position = target.tolist()
            request.target_velocity = [0.0] * self.limits.joints
            way = target - now.positions
            longest = float((np.abs(way) / self.limits.velocity).max())
            fastest = way / max(longest, 1e-9)
            slow = self._slowdown(now.positions, fastest) if longest > 1e-9 else 1.0
            request.max_velocity = (self.limits.velocity * slow).tolist()
        return self._plan_from(request)[0]

    def _slowdown(self, positions: Joints, velocities: Joints) -> float:
        """Return the share of these joint velocities that keeps the tool below its speed."""
        ahead = 1e-3
        tools = self.kinematics.tip(np.stack([positions, positions + ahead * velocities]))
        speed = float(np.linalg.norm(tools[1] - tools[0])) / ahead
        return min(1.0, AIM * self.limits.safety.tool_speed / max(speed, 1e-9))

    def _braking(self, start: Sample) -> list[Sample]:
        """Return the samples from `start` to rest, the fastest way each joint has."""
        self._start(self._brake, start)
        return self._plan_from(self._brake, to_the_end=True)

    def _start(self, request: InputParameter, now: Sample) -> None:
        request.current_position, request.current_velocity, request.current_acceleration = now

    def _plan_from(self, request: InputParameter, to_the_end: bool = False) -> list[Sample]:
        result = self._planner.calculate(request, self._plan)
        if result not in (Result.Working, Result.Finished):
            raise RuckigError(f"no motion within the limits from here: {result}")
        count = ceil(self._plan.duration / self.period) if to_the_end else 1
        return [self._plan.at_time(self.period * (n + 1)) for n in range(max(1, count))]
