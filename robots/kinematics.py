"""Where the tool is: forward kinematics, Jacobian and inverse kinematics of a serial arm.

Written here because the guard asks for the tool on every tick of the loop, and because a robot's
computer needs no kinematics library for it. What the loop asks for is compiled, see
`robots.kernels`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robots.arm import Joints
from robots.kernels import compute_tips
from robots.model import ArmModel

Matrix = NDArray[np.float64]


def rpy_to_matrix(rpy: tuple[float, float, float]) -> Matrix:
    """Return the (3, 3) rotation of URDF's fixed-axis roll, pitch, yaw [rad]."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def build_transform(xyz: tuple[float, float, float], rpy: tuple[float, float, float]) -> Matrix:
    """Return the (4, 4) transform of a URDF origin."""
    made = np.eye(4)
    made[:3, :3] = rpy_to_matrix(rpy)
    made[:3, 3] = xyz
    return made


class Kinematics:
    """Geometry of one arm.

    Args:
        model: its joints, base to tool.

    Attributes:
        chain: (J, 3, 3, 4), see `robots.kernels.transform_point`.
        point: (3,) the tool centre point in the last joint's frame [m].
    """

    def __init__(self, model: ArmModel) -> None:
        axes = np.array([joint.axis for joint in model.joints], np.float64)
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        origins = np.stack([build_transform(joint.xyz, joint.rpy) for joint in model.joints])
        cross = np.zeros((len(axes), 4, 4))
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axes[:, 2], axes[:, 1], -axes[:, 0]
        cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = axes[:, 2], -axes[:, 1], axes[:, 0]
        # Rodrigues: origin (I + sin q [a] + (1 - cos q) [a]^2), all but q known beforehand.
        self._still = origins
        self._sine = origins @ cross
        self._cosine = origins @ cross @ cross
        self._axes = axes
        self._tool = build_transform(model.tool_xyz, model.tool_rpy)
        self.chain = np.stack([self._still, self._sine, self._cosine], axis=1)[:, :, :3].copy()
        self.point = self._tool[:3, 3].copy()

    def compute_tool_pose(self, positions: Joints) -> Matrix:
        """Return the tool's pose in the base frame.

        Args:
            positions: (..., J) joint angles [rad].

        Returns:
            (..., 4, 4).
        """
        frames = self._frames(positions)
        pose = frames[..., 0, :, :]
        for joint in range(1, frames.shape[-3]):
            pose = pose @ frames[..., joint, :, :]
        return np.asarray(pose @ self._tool)

    def compute_tip(self, positions: Joints) -> Matrix:
        """Return only where the tool centre point is, (..., 3) [m]: a fraction of the work.

        Args:
            positions: (..., J) joint angles [rad].
        """
        angles = np.ascontiguousarray(positions, np.float64)
        found: Matrix = compute_tips(self.chain, self.point, angles.reshape(-1, len(self.chain)))
        return found.reshape(*angles.shape[:-1], 3)

    def compute_jacobian(self, positions: Joints) -> Matrix:
        """Return the Jacobian: rows vx vy vz wx wy wz, base frame.

        Args:
            positions: (..., J) joint angles [rad].

        Returns:
            (..., 6, J).
        """
        frames = self._frames(positions)
        shape = (*frames.shape[:-2], 3)
        axes, centers = np.empty(shape), np.empty(shape)
        pose = np.eye(4)
        for joint in range(frames.shape[-3]):
            pose = pose @ frames[..., joint, :, :]
            # A joint turns about its own axis, so the axis reads the same before and after.
            axes[..., joint, :] = pose[..., :3, :3] @ self._axes[joint]
            centers[..., joint, :] = pose[..., :3, 3]
        tip = (pose @ self._tool)[..., None, :3, 3]
        rows = np.concatenate([np.cross(axes, tip - centers), axes], axis=-1)
        return np.asarray(np.swapaxes(rows, -1, -2))

    def solve_ik(
        self,
        pose: Matrix,
        seed: Joints,
        lower: Joints,
        upper: Joints,
        steps: int = 60,
        tolerance: float = 1e-4,
    ) -> Joints | None:
        """Find joint angles near `seed` that bring the tool to a pose (damped least squares).

        Args:
            pose: (4, 4) in the base frame.
            seed: (J,) where to start from [rad].
            lower: (J,) [rad].
            upper: (J,) [rad].
            steps: iterations at most.
            tolerance: largest error left [m, rad].

        Returns:
            (J,) within the limits, or None when the pose is not reached.
        """
        found = np.clip(seed, lower, upper).astype(np.float64)
        for _ in range(steps):
            now = self.compute_tool_pose(found)
            error = np.concatenate([pose[:3, 3] - now[:3, 3], _turn(pose[:3, :3] @ now[:3, :3].T)])
            size = float(np.linalg.norm(error))
            if size < tolerance:
                return found
            jacobian = self.compute_jacobian(found)
            damping = 1e-6 + 1e-2 * min(size, 1.0) ** 2
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + damping * np.eye(6), error)
            step *= min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-12))
            found = np.clip(found + step, lower, upper)
        return None

    def _frames(self, positions: Joints) -> Matrix:
        angles = np.asarray(positions, np.float64)[..., None, None]
        frames = self._still + np.sin(angles) * self._sine + (1 - np.cos(angles)) * self._cosine
        return np.asarray(frames)


def _turn(matrix: Matrix) -> Matrix:
    """Return the (3,) rotation vector [rad] of a rotation matrix."""
    skew = 0.5 * np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    sine = float(np.linalg.norm(skew))
    angle = float(np.arctan2(sine, (np.trace(matrix) - 1) / 2))
    if sine > 1e-6:
        return np.asarray(skew * (angle / sine))
    if angle < 1.0:
        return skew
    # Half a turn: the axis is the column of the largest diagonal entry of (R + I) / 2.
    column = int(np.argmax(np.diag(matrix)))
    axis = (matrix + np.eye(3))[:, column]
    return np.asarray(axis / np.linalg.norm(axis) * angle)
