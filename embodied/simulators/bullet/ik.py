"""Follow tool poses with joints: damped differential inverse kinematics, many arms at once.

Each iteration solves the damped least squares problem of Wampler ("Manipulator inverse kinematic
solutions based on vector formulations and damped least-squares methods", IEEE Trans. SMC 1986);
what a redundant arm has left pulls it towards its rest posture, so that it does not drift over many
small steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet.rotations import to_rotvec
from robots.kinematics import Kinematics

Array = NDArray[np.float64]

_DAMPING = 1e-4
_LONGEST = 0.3  # step of a joint per iteration, beyond which the Jacobian says little [rad]
_POSTURE = 0.02  # share of the way to the rest posture per iteration


def solve_ik(
    kinematics: Kinematics,
    poses: Array,
    positions: Array,
    rest: Array,
    limits: tuple[Array, Array],
    turn_weight: float = 0.3,
    iterations: int = 2,
) -> Array:
    """Return joint angles whose tools are nearer to the poses.

    Args:
        kinematics: of the arms.
        poses: (N, 4, 4) wanted poses of the model's tool in the base frame.
        positions: (N, J) joint angles to start from [rad].
        rest: (J,) posture to stay near [rad].
        limits: lowest and highest angles, (J,) each [rad].
        turn_weight: what a radian of error weighs against a metre; an arm of five joints keeps its
            position only if it is small.
        iterations: of the solver; two follow steps of a few centimetres to 0.1 mm.

    Returns:
        (N, J) within the limits.
    """
    found = np.array(positions, np.float64)
    weight = np.array([1.0] * 3 + [turn_weight] * 3)
    lower, upper = limits
    for _ in range(iterations):
        now = kinematics.compute_tool_pose(found)
        turn = to_rotvec(poses[:, :3, :3] @ np.swapaxes(now[:, :3, :3], 1, 2))
        error = np.concatenate([poses[:, :3, 3] - now[:, :3, 3], turn], axis=1)
        jacobian = kinematics.compute_jacobian(found) * weight[:, None]
        step = _step(jacobian, error * weight, rest - found)
        stuck = (found + step > upper) | (found + step < lower)
        if stuck.any():
            # Joints go no further than their limits, and the others make up for them.
            others = np.where(stuck[:, None, :], 0.0, jacobian)
            step = np.where(stuck, step, _step(others, error * weight, rest - found))
        step *= np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=1), 1e-12))[:, None]
        found = np.clip(found + step, lower, upper)
    return found


def _step(jacobian: Array, error: Array, home: Array) -> Array:
    """Return changes (N, J) that undo errors (N, 6), and with what is left lead home (N, J)."""
    transposed = np.swapaxes(jacobian, 1, 2)
    inverse = transposed @ np.linalg.inv(jacobian @ transposed + _DAMPING * np.eye(6))
    idle = np.eye(jacobian.shape[2]) - inverse @ jacobian
    # A column of zeros is a joint that must not move, not one that is free to.
    idle = idle * np.asarray(jacobian.any(axis=1))[:, :, None]
    return np.asarray((inverse @ error[..., None] + _POSTURE * (idle @ home[..., None]))[..., 0])
