"""An arm's URDF in a PyBullet world: its joints, its fingers, and the meshes it lacks.

Shared by the digital twin (`robots.bullet`) and the tabletop simulator, which has many arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embodied.extras import require_extra
from robots.arm_urdf import read_arm_urdf
from robots.errors import ModelError
from robots.model import ArmModel, Vector
from robots.urdf import Urdf, find_urdf, read_urdf, strip_scheme

_FINGER_FORCE = 20.0  # where the URDF gives none [N]
_EMPTY = 0.007  # a mesh without triangles has 4 mm of margin, up to 6.9 mm when turned [m]


def import_pybullet(purpose: str) -> Any:
    """Import PyBullet.

    Raises:
        MissingExtraError: it is not installed; `purpose` says what needs it.
    """
    with require_extra(purpose):
        import pybullet
    return pybullet


@dataclass(frozen=True)
class GripperFinger:
    """A joint of a gripper.

    Attributes:
        name: its own.
        closed: angle or way when the gripper is closed [rad or m].
        opened: when it is open [rad or m].
        force: most it may use [Nm or N].
    """

    name: str
    closed: float
    opened: float
    force: float


class ArmUrdf:
    """A URDF and what of it belongs to a model.

    Args:
        model: its joints are found in the file by name, or else by their order on the way to its
            tool link; moving joints beyond the last are fingers.
        reference: path or "package:path"; "" takes that of the model.

    Attributes:
        file: the URDF.
        names: its names of the model's joints.
        fingers: joints of the gripper, if any.

    Raises:
        ModelError: no URDF, or not one of this arm.
    """

    def __init__(self, model: ArmModel, reference: str = "") -> None:
        reference = reference or model.urdf
        if not reference:
            raise ModelError(f"no URDF of {model.name} is known: give one as option urdf")
        self._urdf = read_urdf(find_urdf(reference))
        self.file = self._urdf.file
        self.names = _find_arm_joints(self._urdf, model)
        self.fingers = _find_fingers(self._urdf, self.names[-1])
        self._collisions = _find_collision_meshes(self._urdf)

    def load_body(
        self, bullet: Any, client: int, xyz: Vector, rotation: Sequence[float], flags: int = 0
    ) -> tuple[int, list[int], list[int]]:
        """Put the arm into a world, its base fixed.

        Args:
            bullet: the module `pybullet`.
            client: its world.
            xyz: where the base stands [m].
            rotation: quaternion xyzw of the base.
            flags: of `loadURDF`.

        Returns:
            Number of the body, of the arm's joints and of the fingers' joints.

        Raises:
            ModelError: a collision mesh holds no shape.
        """
        body = bullet.loadURDF(
            str(self.file), xyz, rotation, useFixedBase=True, flags=flags, physicsClientId=client
        )
        infos = [
            bullet.getJointInfo(body, joint, physicsClientId=client)
            for joint in range(bullet.getNumJoints(body, physicsClientId=client))
        ]
        index = {info[1].decode(): joint for joint, info in enumerate(infos)}
        links = {info[12].decode(): joint for joint, info in enumerate(infos)}
        for name, mesh in self._collisions.items():
            low, high = bullet.getAABB(body, links.get(name, -1), physicsClientId=client)
            if max(np.subtract(high, low)) < _EMPTY:
                raise ModelError(
                    f"{self.file}: the collision mesh {mesh} of link '{name}' holds no shape, and "
                    "nothing would touch that link. It is empty or was cut short: copy it again"
                )
        return body, [index[n] for n in self.names], [index[f.name] for f in self.fingers]

    def opening_to_travels(self, opening: float) -> list[float]:
        """Return each finger's angle or way at an opening between 0 (closed) and 1."""
        return [f.closed + opening * (f.opened - f.closed) for f in self.fingers]

    def travels_to_opening(self, travels: Sequence[float]) -> float:
        """Return the opening in [0, 1] at the fingers' angles or ways."""
        shares = [
            (travel - f.closed) / (f.opened - f.closed)
            for travel, f in zip(travels, self.fingers, strict=True)
        ]
        return min(1.0, max(0.0, float(np.mean(shares))))

    def list_missing_meshes(self) -> str:
        """Name the meshes that are not there; PyBullet looks in all folders above the file."""
        names = {str(mesh.get("filename")) for mesh in self._urdf.element.iter("mesh")}
        absent = sorted(strip_scheme(n) for n in names if self._urdf.find_mesh(n) is None)
        return f" Missing beside or above it: {', '.join(absent[:5])}" if absent else ""


def _find_arm_joints(urdf: Urdf, model: ArmModel) -> list[str]:
    """Return the URDF's names of the model's joints: the same, or those on the way to its tool."""
    if set(model.joint_names) <= set(urdf.joints):
        return list(model.joint_names)
    absent = next(name for name in model.joint_names if name not in urdf.joints)
    tool = model.tool_link or list(urdf.links)[-1]
    chain = read_arm_urdf(urdf.file, tool, accelerations=1.0, jerks=1.0).joint_names
    if len(chain) != len(model.joints):
        raise ModelError(
            f"{urdf.file} is not a URDF of {model.name}: it has no joint '{absent}', and "
            f"{len(chain)} moving joints lead to its link '{tool}' ({', '.join(chain)}) where "
            f"{model.name} has {len(model.joints)}. Give another file as option urdf"
        )
    return list(chain)


def _find_fingers(urdf: Urdf, last: str) -> list[GripperFinger]:
    """Return the joints beyond the arm's last that turn or slide within limits."""
    below = urdf.find_links_below(urdf.joints[last].child)
    fingers = []
    for joint in urdf.joints.values():
        closed, opened = joint.limits.get("lower", 0.0), joint.limits.get("upper", 0.0)
        moves = joint.kind in ("prismatic", "revolute") and closed < opened
        if moves and joint.parent in below:
            force = joint.limits.get("effort") or _FINGER_FORCE
            fingers.append(GripperFinger(joint.name, closed, opened, force))
    return fingers


def _find_collision_meshes(urdf: Urdf) -> dict[str, str]:
    """Return the collision mesh of each link that has one."""
    found = {}
    for name, link in urdf.links.items():
        mesh = link.find("collision/geometry/mesh")
        if mesh is not None:
            found[name] = str(mesh.get("filename"))
    return found
