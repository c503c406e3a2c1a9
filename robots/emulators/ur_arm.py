"""The joints of the emulated Universal Robots arm: they follow, move and brake with bounded speed.

A kinematic model: no inertia, no contact. Torques are those of one weight at the tool, so that they
change with the pose as real ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np

from robots.arm import Joints
from robots.kinematics import Kinematics, Matrix
from robots.model import ArmModel

# Mass at the tool [kg] times gravity [m/s^2], for the torques shown.
WEIGHT = 2.0 * 9.81
# Below these a motion is over [rad/s, rad].
REST_SPEED, REST_ERROR = 1e-4, 1e-5
# Share of the deceleration that plans count on, as they are carried out in steps.
PLANNED = 0.8


class SimulatedArm:
    """Joints that carry out one wish at a time: servo, speed, move or brake.

    Args:
        model: the arm; its speeds and accelerations are never exceeded.
    """

    def __init__(self, model: ArmModel) -> None:
        self.positions: Joints = np.array(model.home, np.float64)
        self.velocities: Joints = np.zeros(len(model.joints))
        self.target: Joints = self.positions.copy()
        self.fastest: Joints = np.array([joint.velocity for joint in model.joints])
        self._hardest: Joints = np.array([joint.acceleration for joint in model.joints])
        self._kinematics = Kinematics(model)
        self._wish: Callable[[float], Joints] = self._rest
        self._acceleration: Joints = self._hardest
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether a motion with an end, `move` or `brake`, is still under way."""
        return self._busy

    def servo_joints(self, target: Joints, lookahead: float) -> None:
        """Follow a target [rad] that moves; `lookahead` is the time constant [s]."""

        def wish(_period: float) -> Joints:
            error = target - self.positions
            brakeable = np.sqrt(2 * PLANNED * self._hardest * np.abs(error))
            return np.sign(error) * np.minimum(np.abs(error) / lookahead, brakeable)

        self.target, self._wish, self._acceleration, self._busy = target, wish, self._hardest, False

    def speed_joints(self, velocities: Joints, acceleration: float, seconds: float) -> None:
        """Turn at given speeds [rad/s], reached with `acceleration` [rad/s^2]; 0 s: for ever."""
        left = seconds if seconds > 0 else inf

        def wish(period: float) -> Joints:
            nonlocal left
            left -= period
            return velocities if left > 0 else np.zeros_like(velocities)

        self._wish, self._busy = wish, False
        self._acceleration = np.minimum(acceleration, self._hardest)

    def move_joints(self, target: Joints, speed: float, acceleration: float) -> None:
        """Go to a target [rad] and stop there, all joints together; bounds of the leading one."""
        acceleration = min(acceleration, float(self._hardest.min()))

        def wish(period: float) -> Joints:
            error = target - self.positions
            lead = float(np.abs(error).max())
            if lead < REST_ERROR:
                self.halt()
                return self.velocities
            brakeable = (2 * PLANNED * acceleration * lead) ** 0.5
            return np.asarray(error / lead * min(speed, brakeable, lead / period))

        self.target, self._wish, self._busy = target, wish, True
        self._acceleration = np.full_like(self._hardest, acceleration)

    def brake(self, deceleration: float) -> None:
        """Come to rest [rad/s^2]."""

        def wish(_period: float) -> Joints:
            if float(np.abs(self.velocities).max()) < REST_SPEED:
                self.halt()
            return np.zeros_like(self.velocities)

        self._wish, self._busy = wish, True
        self._acceleration = np.full_like(self._hardest, max(deceleration, 0.1))

    def halt(self) -> None:
        """Stand still at once: brakes engaged."""
        self.velocities = np.zeros_like(self.velocities)
        self.target = self.positions.copy()
        self._wish, self._busy = self._rest, False

    def step(self, period: float) -> None:
        """Let time pass [s]."""
        change = self._acceleration * period
        wanted = self._wish(period)
        speeds = self.velocities + np.clip(wanted - self.velocities, -change, change)
        self.velocities = np.clip(speeds, -self.fastest, self.fastest)
        self.positions = self.positions + self.velocities * period

    def compute_moments(self) -> Joints:
        """Return the (J,) torques that hold the weight at the tool [Nm]."""
        return np.asarray(self._kinematics.compute_jacobian(self.positions)[2] * WEIGHT)

    def compute_tool_pose(self) -> Joints:
        """Return x y z [m] and the rotation vector [rad] of the tool in the base frame, (6,)."""
        pose = self._kinematics.compute_tool_pose(self.positions)
        return np.concatenate([pose[:3, 3], _rotation_vector(pose[:3, :3])])

    def compute_tool_speed(self) -> Joints:
        """Return the tool's linear [m/s] and angular [rad/s] velocity in the base frame, (6,)."""
        return np.asarray(self._kinematics.compute_jacobian(self.positions) @ self.velocities)

    def _rest(self, _period: float) -> Joints:
        return np.zeros_like(self.velocities)


def _rotation_vector(matrix: Matrix) -> Joints:
    """Return axis times angle [rad], (3,), of a rotation matrix."""
    angle = float(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))
    # The axis is the direction that R + R^T - (tr R - 1) I keeps; its sign comes from R - R^T.
    kept = matrix + matrix.T - (np.trace(matrix) - 1) * np.eye(3)
    column = kept[:, int(np.argmax(np.diag(kept)))]
    length = float(np.linalg.norm(column))
    if length < 1e-12:
        return np.zeros(3)
    skew = np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    sign = -1.0 if float(skew @ column) < 0 else 1.0
    return np.asarray(sign * angle * column / length)
