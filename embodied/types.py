"""Values that cross package borders.

Frames: y up, metres, right-handed; an agent at yaw 0 looks along -z.

Yaw is counter-clockwise about +y [rad], so ``forward = (-sin yaw, 0, -cos yaw)`` (Habitat).
Cameras look along their own -z with +x right and +y up. Quaternions are ``xyzw``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Pose:
    """A rigid pose in the world frame.

    Attributes:
        position: (3,) [m].
        rotation: (4,) unit quaternion, xyzw.
    """

    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    @staticmethod
    def from_yaw(position: FloatArray | tuple[float, float, float], yaw: float) -> Pose:
        """Build an upright pose from a position [m] and a heading [rad]."""
        x, y, z = (float(v) for v in position)
        return Pose((x, y, z), (0.0, float(np.sin(yaw / 2)), 0.0, float(np.cos(yaw / 2))))

    @property
    def yaw(self) -> float:
        """Heading [rad] in (-pi, pi]: the direction of the pose's -z axis on the floor plane."""
        x, y, z, w = self.rotation
        forward_x, forward_z = -2 * (x * z + w * y), -(1 - 2 * (x * x + y * y))
        return float(np.arctan2(-forward_x, -forward_z))

    def matrix(self) -> NDArray[np.float64]:
        """Return the (4, 4) pose-to-world transform."""
        from scipy.spatial.transform import Rotation

        transform = np.eye(4)
        transform[:3, :3] = Rotation.from_quat(self.rotation).as_matrix()
        transform[:3, 3] = self.position
        return transform


def quaternion_to_matrix(quaternions: ArrayLike) -> NDArray[np.float64]:
    """Return the rotation matrices (..., 3, 3) of unit quaternions xyzw (..., 4)."""
    q = np.asarray(quaternions, np.float64)
    x, y, z, w = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
