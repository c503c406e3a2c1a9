"""Read an arm's description from a URDF, for arms that `robots/models` does not know."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from math import asin, atan2, pi
from pathlib import Path

from embodied.errors import suggest_nearest
from robots.errors import ModelError
from robots.kinematics import Matrix, build_transform
from robots.model import ArmModel, Joint, Vector


def find_urdf(reference: str) -> Path:
    """Find a URDF: a path, or "package:path" inside an installed Python package.

    Raises:
        ModelError: not there; says what to install or to give.
    """
    package, colon, inside = reference.partition(":")
    if not colon:
        file = Path(reference).expanduser()
    else:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"the URDF {reference} comes with the Python package '{package}': pip install "
                f"{package.replace('_', '-')}, or give the path of a URDF"
            )
        file = Path(spec.submodule_search_locations[0]) / inside
    if not reference or not file.is_file():
        raise ModelError(f"there is no URDF at '{file if reference else reference}'")
    return file


def read_urdf(
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
    try:
        root = ElementTree.parse(file).getroot()  # noqa: S314 - a file of the user's own
    except (OSError, ElementTree.ParseError) as error:
        raise ModelError(f"cannot read the URDF {file}: {error}") from error
    above = {}
    for element in root.findall("joint"):
        child, parent = element.find("child"), element.find("parent")
        if child is None or parent is None:
            raise ModelError(f"{file}: joint '{element.get('name')}' lacks parent or child")
        above[child.get("link")] = (element, parent.get("link"))
    if tool not in above:
        known = [str(link) for link in above]
        raise ModelError(f"{file}: no link '{tool}': {suggest_nearest(tool, known)}")
    chain, link = [], tool
    while link in above and link != base:
        element, link = above[link][0], str(above[link][1])
        chain.append(element)
    if base and link != base:
        raise ModelError(f"{file}: link '{tool}' does not hang on '{base}'")
    try:
        return _model(Path(file), chain[::-1], accelerations, jerks)
    except ValueError as error:
        raise ModelError(f"{file}: what should be numbers of a joint is not: {error}") from error


def _model(
    file: Path,
    chain: list[ElementTree.Element],
    accelerations: Mapping[str, float] | float,
    jerks: Mapping[str, float] | float,
) -> ArmModel:
    fixed, joints = build_transform((0, 0, 0), (0, 0, 0)), []
    for element in chain:
        name, kind = str(element.get("name")), element.get("type")
        origin = element.find("origin")
        fixed = fixed @ build_transform(_vector(origin, "xyz"), _vector(origin, "rpy"))
        if kind == "fixed":
            continue
        limit = element.find("limit")
        if kind not in ("revolute", "continuous"):
            raise ModelError(f"{file}: joint '{name}' is {kind}; only turning joints are handled")
        if limit is None or limit.get("velocity") is None or limit.get("effort") is None:
            raise ModelError(f"{file}: joint '{name}' has no limits of velocity and effort")
        lower, upper = (
            (-2 * pi, 2 * pi)
            if kind == "continuous"
            else (float(limit.get("lower", 0)), float(limit.get("upper", 0)))
        )
        joints.append(
            Joint(
                name,
                lower,
                upper,
                float(limit.get("velocity", 0)),
                _of(accelerations, name),
                _of(jerks, name),
                float(limit.get("effort", 0)),
                *_origin(fixed),
                axis=_vector(element.find("axis"), "xyz", (1.0, 0.0, 0.0)),
            )
        )
        fixed = build_transform((0, 0, 0), (0, 0, 0))
    if not joints:
        raise ModelError(f"{file}: no moving joint on the way to the tool")
    home = tuple(min(max(0.0, joint.lower), joint.upper) for joint in joints)
    xyz, rpy = _origin(fixed)
    model = ArmModel(file.stem, str(file), tuple(joints), home, xyz, rpy)
    return replace(model, urdf=str(file))


def _of(values: Mapping[str, float] | float, name: str) -> float:
    if isinstance(values, Mapping):
        if name not in values:
            raise ModelError(f"no acceleration or jerk given for joint '{name}'")
        return float(values[name])
    return float(values)


def _vector(
    element: ElementTree.Element | None, key: str, other: Vector = (0.0, 0.0, 0.0)
) -> Vector:
    text = element.get(key) if element is not None else None
    if text is None:
        return other
    x, y, z = (float(number) for number in text.split())
    return x, y, z


def _origin(matrix: Matrix) -> tuple[Vector, Vector]:
    """Return xyz [m] and roll, pitch, yaw [rad] of a transform."""
    pitch = asin(max(-1.0, min(1.0, -float(matrix[2, 0]))))
    roll = atan2(float(matrix[2, 1]), float(matrix[2, 2]))
    yaw = atan2(float(matrix[1, 0]), float(matrix[0, 0]))
    x, y, z = (float(v) for v in matrix[:3, 3])
    return (x, y, z), (roll, pitch, yaw)
