"""Arms on the table: a model of `robots/models` with a gripper, and the space it works in."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from math import pi
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import suggest_nearest
from embodied.simulators.bullet.assembly import (
    HAND_LENGTH,
    build_urdf_from_joints,
    build_urdf_with_hand,
)
from embodied.simulators.bullet.errors import SimulationError
from embodied.simulators.bullet.ik import solve_ik
from robots.arm import Joints
from robots.bullet_body import ArmUrdf
from robots.kinematics import Kinematics, rpy_to_matrix
from robots.model import ArmModel, Vector, load_model
from robots.urdf import find_urdf

READY_HEIGHT = 0.22
"""Height of the tool above the table when an episode begins, times the rig's scale [m]."""


_READY_ERROR = 0.01  # [m]


@dataclass(frozen=True)
class RigSpec:
    """What the model of an arm does not say.

    Attributes:
        model: name in `robots/models`.
        grip_rpy: roll, pitch, yaw from the model's tool frame to ours: x forward and z up when the
            gripper points straight down, its fingers closing along y [rad].
        center: middle of the working space on the table, in the base frame [m].
        scale: of the objects and of the space; 1 suits a gripper that opens 8 cm.
        hand_offset: the model ends at a flange, and the Franka hand is screwed on, this far beyond
            along the flange's z [m]; None: the model has a gripper of its own.
        turn_weight: of the inverse kinematics, see `follow`.
        rod_radius: there is no URDF: draw the model as rods of this radius [m]; 0: there is one.
    """

    model: str
    grip_rpy: Vector = (pi, 0.0, 0.0)
    center: tuple[float, float] = (0.5, 0.0)
    scale: float = 1.0
    hand_offset: float | None = None
    turn_weight: float = 0.3
    rod_radius: float = 0.0


RIGS: dict[str, RigSpec] = {
    "panda": RigSpec("panda"),
    "fr3": RigSpec("fr3"),
    "kuka": RigSpec("kuka_iiwa", grip_rpy=(0.0, pi, 0.0), center=(0.58, 0.0), hand_offset=0.03),
    "xarm6": RigSpec("xarm6", center=(0.4, 0.0), hand_offset=0.0),
    "so101": RigSpec(
        "so101",
        grip_rpy=(0.0, pi, 0.0),
        center=(0.22, 0.0),
        scale=0.55,
        turn_weight=0.03,
        rod_radius=0.014,
    ),
}


class Rig:
    """An arm ready for the table.

    Args:
        name: of `RIGS`.
        urdf: another URDF of that arm with its gripper, a path or "package:path".

    Attributes:
        spec, model, urdf, kinematics: see there; the model's tool is between the finger tips.
        lower, upper, velocity: (J,) limits [rad], [rad/s].
        efforts: torques of the joints [Nm].
        ready_joints: (J,) joint angles with the gripper straight down above the centre [rad].

    Raises:
        SimulationError: unknown, without a gripper, or the centre is out of its reach.
        ModelError: no URDF, or not one of this arm.
    """

    def __init__(self, name: str, urdf: str = "") -> None:
        if name not in RIGS:
            raise SimulationError(f"unknown robot '{name}': {suggest_nearest(name, RIGS)}")
        self.name, self.spec = name, RIGS[name]
        self.model: ArmModel = load_model(self.spec.model)
        made = ""
        if self.spec.hand_offset is not None:
            beyond = self.spec.hand_offset + HAND_LENGTH
            made = (
                ""
                if urdf
                else build_urdf_with_hand(
                    find_urdf(self.model.urdf), self.model.tool_link, self.spec.hand_offset
                )
            )
            self.model = replace(self.model, tool_xyz=(0.0, 0.0, beyond), tool_link="panda_hand")
        elif self.spec.rod_radius and not urdf:
            made = build_urdf_from_joints(self.model, self.spec.rod_radius)
            self.model = replace(self.model, tool_link="jaw")
        if made:  # PyBullet reads files only
            self._folder = tempfile.TemporaryDirectory(prefix="embodied-rig-")
            file = Path(self._folder.name) / f"{name}.urdf"
            file.write_text(made, encoding="utf-8")
            urdf = str(file)
        self.urdf = ArmUrdf(self.model, urdf)
        if not self.urdf.fingers:
            raise SimulationError(f"{self.urdf.file} has no gripper: give the URDF of one that has")
        self.kinematics = Kinematics(self.model)
        joints = self.model.joints
        self.lower = np.array([joint.lower for joint in joints])
        self.upper = np.array([joint.upper for joint in joints])
        self.velocity = np.array([joint.velocity for joint in joints])
        self.efforts = [joint.effort for joint in joints]
        self._grip = rpy_to_matrix(self.spec.grip_rpy)
        self.ready_joints = self._find_ready()

    def compute_tcp_poses(self, positions: Joints) -> NDArray[np.float64]:
        """Return poses (..., 4, 4) of the tool centre point at joint angles (..., J) [rad]."""
        poses = self.kinematics.compute_tool_pose(positions)
        poses[..., :3, :3] = poses[..., :3, :3] @ self._grip
        return poses

    def compute_tool_poses(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the poses (..., 4, 4) of the model's tool for poses of the tool centre point."""
        poses = poses.copy()
        poses[..., :3, :3] = poses[..., :3, :3] @ self._grip.T
        return poses

    def solve_ik(self, poses: NDArray[np.float64], positions: Joints) -> Joints:
        """Return joint angles (N, J) near given ones that bring the tool nearer to poses (N, 4, 4).

        Args:
            poses: of the tool centre point.
            positions: (N, J) to start from [rad].
        """
        limits, weight = (self.lower, self.upper), self.spec.turn_weight
        return solve_ik(
            self.kinematics,
            self.compute_tool_poses(poses),
            positions,
            self.ready_joints,
            limits,
            weight,
        )

    def _find_ready(self) -> Joints:
        pose = np.eye(4)
        pose[:3, 3] = (*self.spec.center, READY_HEIGHT * self.spec.scale)
        self.ready_joints = np.array(self.model.home)
        found = self.ready_joints[None]
        for _ in range(100):
            found = self.solve_ik(pose[None], found)
        if np.abs(self.compute_tcp_poses(found[0])[:3, 3] - pose[:3, 3]).max() > _READY_ERROR:
            raise SimulationError(
                f"{self.name} does not reach {pose[:3, 3].tolist()} m from above: correct the "
                "centre of its row in RIGS"
            )
        return found[0]
