"""Frames of a house and of an arm that stands in it.

House: y up, yaw 0 looks along -z (`embodied.types`). Arm: x ahead, y to the left, z up
(PyBullet's).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.simulators.bullet.rotations import to_quaternion
from embodied.types import quaternion_to_matrix

Array = NDArray[np.float64]


def upright_pose(position: ArrayLike, yaw: float) -> Array:
    """Return the (4, 4) pose in the house of something upright.

    Args:
        position: (3,) of its origin in the house [m].
        yaw: where its x axis points, as the heading of an agent that looks there [rad].
    """
    sin, cos = np.sin(yaw), np.cos(yaw)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = (-sin, 0, -cos), (-cos, 0, sin), (0, 1, 0)
    pose[:3, 3] = position
    return pose


def pose_to_matrix(pose: Array) -> Array:
    """Return the (4, 4) matrix of a pose (7,): position, quaternion xyzw."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = quaternion_to_matrix(pose[3:]), pose[:3]
    return matrix


def matrix_to_pose(matrix: Array) -> Array:
    """Return the pose (7,) of a (4, 4) matrix."""
    return np.concatenate([matrix[:3, 3], to_quaternion(matrix[:3, :3])])
