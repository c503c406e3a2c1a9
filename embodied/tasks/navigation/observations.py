"""The observation of the navigation tasks: its space, and the parts that are not images."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.simulators.embedded import wrap_angle
from embodied.tasks.navigation.config import NavigationConfig

Array = NDArray[np.float64]

FAR = 1.0e4
"""Bound of positions and goal distances [m]."""

HALF_TURN = np.pi + 1e-5
"""Bound of angles [rad], above what float32 makes of pi."""


def observation_space(config: NavigationConfig) -> spaces.Dict:
    """Return the space of one environment's observations."""
    camera = config.camera
    size = (camera.height, camera.width)
    labels = np.iinfo(np.int32).max
    images: dict[str, spaces.Space] = {
        "rgb": spaces.Box(0, 255, (*size, 3), np.uint8),
        "depth": spaces.Box(0.0, float(camera.max_depth), size, np.float32),
        "semantic": spaces.Box(0, labels, size, np.int32),
        "instance": spaces.Box(0, labels, size, np.int32),
    }
    space = {name: images[name] for name in camera.outputs}
    high = np.array([FAR, FAR, FAR, HALF_TURN], np.float32)
    space["pose"] = spaces.Box(-high, high, dtype=np.float32)
    if config.task == "pointnav":
        low, high = np.array([[0, -HALF_TURN], [FAR, HALF_TURN]], np.float32)
        space["goal"] = spaces.Box(low, high, dtype=np.float32)
    elif config.task == "objectnav":
        space["goal"] = spaces.Discrete(len(MPCAT40))
    elif config.task == "imagenav":
        space["goal"] = images["rgb"]
    if config.expert:
        space["expert_action"] = spaces.Discrete(4)
    return spaces.Dict(space)


def relative_pose(positions: Array, yaw: Array, begin: Array) -> NDArray[np.float32]:
    """Express poses in the frame of the start (y up, -z ahead of the starting agent).

    Args:
        positions: (N, 3) [m].
        yaw: (N,) [rad].
        begin: (N, 4) x, y, z, yaw of the starts.

    Returns:
        (N, 4) x, y, z, yaw.
    """
    offset = positions - begin[:, :3]
    cos, sin = np.cos(begin[:, 3]), np.sin(begin[:, 3])
    pose = np.empty((len(positions), 4), np.float32)
    pose[:, 0] = cos * offset[:, 0] - sin * offset[:, 2]
    pose[:, 1] = offset[:, 1]
    pose[:, 2] = sin * offset[:, 0] + cos * offset[:, 2]
    pose[:, 3] = wrap_angle(yaw - begin[:, 3])
    return pose


def polar_goal(positions: Array, yaw: Array, goals: Array) -> NDArray[np.float32]:
    """Return (N, 2) straight distance on the floor plane [m] and angle [rad], left positive.

    Args:
        positions: (N, 3) [m].
        yaw: (N,) [rad].
        goals: (N, 3) [m].
    """
    offset = goals - positions
    cos, sin = np.cos(yaw), np.sin(yaw)
    ahead = -sin * offset[:, 0] - cos * offset[:, 2]
    left = -cos * offset[:, 0] + sin * offset[:, 2]
    goal = np.empty((len(positions), 2), np.float32)
    goal[:, 0] = np.hypot(ahead, left)
    goal[:, 1] = np.arctan2(left, ahead)
    return goal
