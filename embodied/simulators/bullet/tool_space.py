"""Between an arm's joints and a policy that sees and moves its tool, on a real arm as well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet.rigs import Rig
from embodied.simulators.bullet.rotations import from_rotvec, to_quaternion

Array = NDArray[np.float64]


class ToolSpace:
    """What the tabletop environments do with the control "ee_delta", without a simulator.

    Args:
        rig: the arm.
        position_step: way of the tool per unit of action [m].
        rotation_step: turn of the tool per unit of action [rad].
    """

    def __init__(self, rig: Rig, position_step: float, rotation_step: float) -> None:
        self._rig = rig
        self._steps = position_step, rotation_step

    @property
    def joint_count(self) -> int:
        """J, joints of the arm."""
        return len(self._rig.lower)

    @property
    def start_joints(self) -> Array:
        """Joint angles (J,) at which episodes begin [rad]."""
        return self._rig.ready_joints

    def compute_state(self, joints: Array, opening: float) -> NDArray[np.float32]:
        """Return what a policy is told: tool position [m], quaternion xyzw and opening, (8,).

        Args:
            joints: (J,) angles [rad].
            opening: of the gripper in [0, 1].
        """
        pose = self._rig.compute_tcp_poses(joints)
        state = np.concatenate([pose[:3, 3], to_quaternion(pose[:3, :3]), [opening]])
        return state.astype(np.float32)

    def compute_joint_targets(self, actions: Array, joints: Array) -> Array:
        """Return joint angles and openings (H, J + 1) that do what actions (H, 7) say.

        Args:
            actions: way (3) and turn (3) of the tool in steps, gripper (+1 open, -1 closed).
            joints: (J,) angles to begin with [rad].
        """
        position_step, rotation_step = self._steps
        target = self._rig.compute_tcp_poses(joints)
        turns = from_rotvec(actions[:, 3:6] * rotation_step)
        rows, now = [], joints[None]
        for action, turn in zip(actions, turns, strict=True):
            target[:3, 3] += action[:3] * position_step
            target[:3, :3] = turn @ target[:3, :3]
            now = self._rig.solve_ik(target[None], now)
            rows.append(np.append(now[0], (action[6] + 1) / 2))
        return np.array(rows)
