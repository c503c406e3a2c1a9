"""URDFs that nobody ships: an arm with another maker's hand, an arm drawn from its joints alone."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from math import atan2, hypot
from pathlib import Path

import numpy as np

from embodied.simulators.bullet.errors import SimulationError
from robots.kinematics import rpy_to_matrix
from robots.model import ArmModel, Vector
from robots.urdf import Urdf, find_urdf, read_urdf, strip_scheme

HAND = "pybullet_data:franka_panda/panda.urdf"
HAND_LINK = "panda_hand"
HAND_LENGTH = 0.105
"""From the hand's flange to its tool centre point [m]."""

JAW_LENGTH = 0.03
"""From the base of a drawn arm's fingers to its tool centre point [m]."""

_JAW_OPENS = 0.025  # each finger of a drawn arm [m]
_JAW_FORCE = 8.0  # [N]
_DENSITY = 900.0  # of drawn links [kg/m^3]


def build_urdf_with_hand(arm: Path, flange: str, mount: float) -> str:
    """Return the URDF text of an arm with the Franka hand on it.

    Args:
        arm: its URDF.
        flange: link the hand is screwed to.
        mount: from that link's origin to the hand's flange, along its z [m].

    Raises:
        SimulationError: the arm has no such link.
        ModelError: the hand's URDF is not installed.
    """
    root, source = _read_absolute(arm), _read_absolute(find_urdf(HAND))
    if flange not in root.links:
        raise SimulationError(f"{arm} has no link '{flange}' to screw a hand to")
    hand = source.find_links_below(HAND_LINK)
    for element in source.element:
        name = str(element.get("name"))
        belongs = {
            "link": name in hand,
            "joint": name in source.joints and source.joints[name].parent in hand,
            "material": True,
        }
        if belongs.get(element.tag):
            root.element.append(element)
    root.element.append(_joint("hand_mount", "fixed", flange, HAND_LINK, (0.0, 0.0, mount)))
    return ElementTree.tostring(root.element, encoding="unicode")


def build_urdf_from_joints(model: ArmModel, radius: float) -> str:
    """Return the URDF text of an arm drawn as rods between its joints, with a parallel gripper.

    Args:
        model: with its tool centre point between the finger tips.
        radius: of the rods [m].
    """
    root = ElementTree.Element("robot", name=model.name)
    ends = [joint.xyz for joint in model.joints] + [_before(model, JAW_LENGTH)]
    names = ["base", *(f"link_{joint.name}" for joint in model.joints)]
    for name, end in zip(names, ends, strict=True):
        root.append(_rod(name, end, radius))
    for parent, child, joint in zip(names, names[1:], model.joints, strict=False):
        element = _joint(joint.name, "revolute", parent, child, joint.xyz, joint.rpy, joint.axis)
        _limit(element, joint.lower, joint.upper, joint.effort, joint.velocity)
        root.append(element)
    root.append(_box("jaw", (0.018, 2 * _JAW_OPENS + 0.024, 0.012), (0, 0, -0.006)))
    root.append(_joint("jaw_mount", "fixed", names[-1], "jaw", ends[-1], model.tool_rpy))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        finger = f"{side}_finger"
        root.append(_box(finger, (0.014, 0.008, 0.036), (0, sign * 0.004, 0.016)))
        element = _joint(f"{finger}_joint", "prismatic", "jaw", finger, axis=(0, sign, 0))
        _limit(element, 0.0, _JAW_OPENS, _JAW_FORCE, 0.2)
        root.append(element)
    return ElementTree.tostring(root, encoding="unicode")


def _before(model: ArmModel, length: float) -> Vector:
    """Return the point that lies a length behind the tool centre point, in the last joint."""
    x, y, z = (np.array(model.tool_xyz) - length * rpy_to_matrix(model.tool_rpy)[:, 2]).tolist()
    return x, y, z


def _read_absolute(file: Path) -> Urdf:
    """Read a URDF and make the names of its meshes whole paths."""
    urdf = read_urdf(file)
    for mesh in urdf.element.iter("mesh"):
        name = str(mesh.get("filename"))
        mesh.set("filename", str(urdf.find_mesh(name) or strip_scheme(name)))
    return urdf


def _rod(name: str, end: Vector, radius: float) -> ElementTree.Element:
    """Return a link drawn from its origin to a point in its frame."""
    x, y, z = end
    length, flat = hypot(x, y, z), hypot(x, y)
    link = ElementTree.Element("link", name=name)
    if length < radius:
        _solid(link, "sphere", {"radius": str(radius)}, (0, 0, 0), (0, 0, 0), 0.05)
        return link
    middle, turn = (x / 2, y / 2, z / 2), (0.0, atan2(flat, z), atan2(y, x))
    size = {"radius": str(radius), "length": str(length)}
    _solid(link, "cylinder", size, middle, turn, _DENSITY * np.pi * radius**2 * length)
    return link


def _box(name: str, size: Sequence[float], center: Sequence[float]) -> ElementTree.Element:
    link = ElementTree.Element("link", name=name)
    mass = max(0.02, _DENSITY * float(np.prod(size)))
    _solid(link, "box", {"size": _text(size)}, center, (0, 0, 0), mass)
    return link


def _solid(
    link: ElementTree.Element,
    kind: str,
    size: dict[str, str],
    center: Sequence[float],
    turn: Sequence[float],
    mass: float,
) -> None:
    for role in ("visual", "collision"):
        element = ElementTree.SubElement(link, role)
        ElementTree.SubElement(element, "origin", xyz=_text(center), rpy=_text(turn))
        ElementTree.SubElement(ElementTree.SubElement(element, "geometry"), kind, size)
        if role == "visual":
            paint = ElementTree.SubElement(element, "material", name="drawn")
            ElementTree.SubElement(paint, "color", rgba="0.93 0.75 0.2 1")
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "origin", xyz=_text(center))
    ElementTree.SubElement(inertial, "mass", value=str(mass))
    # PyBullet derives inertia from the collision shape; the tag only has to be there.
    same = {"ixx": "1e-4", "iyy": "1e-4", "izz": "1e-4", "ixy": "0", "ixz": "0", "iyz": "0"}
    ElementTree.SubElement(inertial, "inertia", same)


def _joint(
    name: str,
    kind: str,
    parent: str,
    child: str,
    xyz: Sequence[float] = (0, 0, 0),
    rpy: Sequence[float] = (0, 0, 0),
    axis: Sequence[float] = (0, 0, 1),
) -> ElementTree.Element:
    joint = ElementTree.Element("joint", name=name, type=kind)
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=child)
    ElementTree.SubElement(joint, "origin", xyz=_text(xyz), rpy=_text(rpy))
    ElementTree.SubElement(joint, "axis", xyz=_text(axis))
    return joint


def _limit(
    joint: ElementTree.Element, lower: float, upper: float, effort: float, velocity: float
) -> None:
    values = {"lower": lower, "upper": upper, "effort": effort, "velocity": velocity}
    ElementTree.SubElement(joint, "limit", {key: str(v) for key, v in values.items()})


def _text(values: Sequence[float]) -> str:
    return " ".join(str(value) for value in values)
