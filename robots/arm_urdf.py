"""Read an arm's description from a URDF, for arms that `robots/models` does not know."""

from __future__ import annotations

from collections.abc import Mapping
from math import asin, atan2, pi
from pathlib import Path

from robots.errors import ModelError
from robots.kinematics import Matrix, build_transform
from robots.model import ArmModel, Joint, Vector
from robots.urdf import TURNING, UrdfJoint, read_urdf


def read_arm_urdf(
    file: str | Path,
    tool: str,
    base: str = "",
    *,
    accelerations: Mapping[str, float] | float,
    jerks: Mapping[str, float] | float,
) -> ArmModel:
    """Describe an arm by its URDF, which knows neither accelerations nor jerks.

    Args:
        file: the URDF.
        tool: link at the tool centre point.
        base: link the arm stands on; "" takes the root.
        accelerations: the maker's maxima [rad/s^2], by joint or one for all.
        jerks: likewise [rad/s^3].

    Raises:
        ModelError: unreadable, no chain from base to tool, a joint that slides, or one without
            limits.
    """
    chain = read_urdf(file).get_chain(tool, base)
    fixed, joints = build_transform((0, 0, 0), (0, 0, 0)), []
    for joint in chain:
        fixed = fixed @ joint.origin
        if joint.kind == "fixed":
            continue
        if joint.kind not in TURNING:
            raise ModelError(
                f"{file}: joint '{joint.name}' is {joint.kind}; an arm's joints must turn"
            )
        if not {"velocity", "effort"} <= set(joint.limits):
            raise ModelError(f"{file}: joint '{joint.name}' has no limits of velocity and effort")
        xyz, rpy = _origin(fixed)
        joints.append(
            Joint(
                joint.name,
                *_range(joint),
                joint.limits["velocity"],
                _of(accelerations, joint.name),
                _of(jerks, joint.name),
                joint.limits["effort"],
                xyz,
                rpy,
                joint.axis,
            )
        )
        fixed = build_transform((0, 0, 0), (0, 0, 0))
    if not joints:
        raise ModelError(f"{file}: no moving joint on the way to the tool")
    home = tuple(min(max(0.0, joint.lower), joint.upper) for joint in joints)
    xyz, rpy = _origin(fixed)
    return ArmModel(Path(file).stem, str(file), tuple(joints), home, xyz, rpy, urdf=str(file))


def _range(joint: UrdfJoint) -> tuple[float, float]:
    if joint.kind == "continuous":
        return -2 * pi, 2 * pi
    return joint.limits.get("lower", 0.0), joint.limits.get("upper", 0.0)


def _of(values: Mapping[str, float] | float, name: str) -> float:
    if isinstance(values, Mapping):
        if name not in values:
            raise ModelError(f"no acceleration or jerk given for joint '{name}'")
        return float(values[name])
    return float(values)


def _origin(matrix: Matrix) -> tuple[Vector, Vector]:
    """Return xyz [m] and roll, pitch, yaw [rad] of a transform."""
    pitch = asin(max(-1.0, min(1.0, -float(matrix[2, 0]))))
    roll = atan2(float(matrix[2, 1]), float(matrix[2, 2]))
    yaw = atan2(float(matrix[1, 0]), float(matrix[0, 0]))
    x, y, z = (float(v) for v in matrix[:3, 3])
    return (x, y, z), (roll, pitch, yaw)
