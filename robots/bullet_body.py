"""An arm's URDF in a PyBullet world: its joints, its fingers, and the meshes it lacks.

Shared by the digital twin (`robots.bullet`) and the tabletop simulator, which has many arms.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import MissingExtraError
from robots.errors import ModelError
from robots.model import ArmModel, Vector
from robots.urdf import find_urdf, read_urdf

_FINGER_FORCE = 20.0  # where the URDF gives none [N]
_EMPTY = 0.007  # a mesh without triangles has 4 mm of margin, up to 6.9 mm when turned [m]


def import_pybullet(purpose: str) -> Any:
    """Import PyBullet.

    Raises:
        MissingExtraError: it is not installed; `purpose` says what needs it.
    """
    try:
        import pybullet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pybullet", "bullet", purpose) from error
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
        self.file = find_urdf(reference)
        self.names = _arm_joints(self.file, model)
        self.fingers = _fingers(self.file, self.names[-1])
        self._collisions = _collision_meshes(self.file)

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
        names = {
            str(mesh.get("filename")).removeprefix("package://").removeprefix("file://")
            for mesh in _read(self.file).iter("mesh")
        }
        folders = self.file.parents
        absent = sorted(n for n in names if not any((f / n).is_file() for f in folders))
        return f" Missing beside or above it: {', '.join(absent[:5])}" if absent else ""


def _arm_joints(file: Path, model: ArmModel) -> list[str]:
    """Return the URDF's names of the model's joints: the same, or those on the way to its tool."""
    root = _read(file)
    known = [str(joint.get("name")) for joint in root.findall("joint")]
    if set(model.joint_names) <= set(known):
        return list(model.joint_names)
    absent = next(name for name in model.joint_names if name not in known)
    tool = model.tool_link or [str(link.get("name")) for link in root.findall("link")][-1]
    chain = read_urdf(file, tool, accelerations=1.0, jerks=1.0).joint_names
    if len(chain) != len(model.joints):
        raise ModelError(
            f"{file} is not a URDF of {model.name}: it has no joint '{absent}', and "
            f"{len(chain)} moving joints lead to its link '{tool}' ({', '.join(chain)}) where "
            f"{model.name} has {len(model.joints)}. Give another file as option urdf"
        )
    return list(chain)


def _fingers(file: Path, last: str) -> list[GripperFinger]:
    """Return the joints beyond the arm's last."""
    joints = {str(joint.get("name")): joint for joint in _read(file).findall("joint")}
    reached, found = {_link(joints[last], "child")}, []
    for _ in joints:  # as often as the longest chain has links, whatever their order in the file
        reached |= {_link(j, "child") for j in joints.values() if _link(j, "parent") in reached}
    for name, joint in joints.items():
        limit = joint.find("limit")
        if limit is None or _link(joint, "parent") not in reached:
            continue
        try:
            closed, opened, force = (float(limit.get(n, 0)) for n in ("lower", "upper", "effort"))
        except ValueError as error:
            raise ModelError(f"{file}: a limit of joint '{name}' is no number: {error}") from error
        if joint.get("type") in ("prismatic", "revolute") and closed < opened:
            found.append(GripperFinger(name, closed, opened, force or _FINGER_FORCE))
    return found


def _collision_meshes(file: Path) -> dict[str, str]:
    """Return the collision mesh of each link that has one."""
    found = {}
    for link in _read(file).findall("link"):
        mesh = link.find("collision/geometry/mesh")
        if mesh is not None:
            found[str(link.get("name"))] = str(mesh.get("filename"))
    return found


def _read(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()  # noqa: S314 - a file of the user's own
    except (OSError, ElementTree.ParseError) as error:
        raise ModelError(f"cannot read the URDF {file}: {error}") from error


def _link(joint: ElementTree.Element, role: str) -> str:
    element = joint.find(role)
    return "" if element is None else str(element.get("link"))
