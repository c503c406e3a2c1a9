"""Read URDFs: links, joints and how they hang together, for arms, scenes and PyBullet alike.

Every reader asks this one, so that a file is refused once, with the link or joint to correct.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path

import numpy as np

from embodied.errors import suggest_nearest
from embodied.extras import OPTIONAL, require_package
from robots.errors import ModelError
from robots.kinematics import Matrix, build_transform
from robots.model import Vector

TURNING = ("revolute", "continuous")
KINDS = (*TURNING, "prismatic", "fixed", "planar", "floating", "spherical")
_ZERO: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class UrdfJoint:
    """One joint.

    Attributes:
        name: its own.
        kind: of `KINDS`.
        parent: link it hangs on.
        child: link that hangs on it.
        xyz: its origin in the parent's frame [m].
        rpy: its rotation there, roll, pitch, yaw [rad].
        axis: what it turns about or slides along, in its own frame; not always of length 1.
        limits: "lower", "upper" [rad or m], "velocity" [rad/s or m/s], "effort" [Nm or N], as far
            as the file gives them.
    """

    name: str
    kind: str
    parent: str
    child: str
    xyz: Vector
    rpy: Vector
    axis: Vector
    limits: Mapping[str, float]

    @property
    def origin(self) -> Matrix:
        """(4, 4) its pose in the parent's frame, where it stands at zero."""
        return build_transform(self.xyz, self.rpy)

    def compute_motion(self, position: float) -> Matrix:
        """Return the (4, 4) motion of a position [rad or m]; none of a joint with other freedom."""
        motion, axis = np.eye(4), np.array(self.axis) / np.linalg.norm(self.axis)
        if self.kind == "prismatic":
            motion[:3, 3] = position * axis
        elif self.kind in TURNING:
            x, y, z = axis
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            motion[:3, :3] += np.sin(position) * cross + (1 - np.cos(position)) * cross @ cross
        return motion


@dataclass(frozen=True)
class Urdf:
    """A URDF whose structure holds: one tree, every name once, every number finite.

    Attributes:
        file: where it stands.
        element: all of it.
        links: element of each link by name, in the order of the file.
        joints: by name, in the order of the file.
        root: the link all others hang on.
    """

    file: Path
    element: ElementTree.Element
    links: Mapping[str, ElementTree.Element]
    joints: Mapping[str, UrdfJoint]
    root: str

    def get_chain(self, tip: str, base: str = "") -> list[UrdfJoint]:
        """Return the joints between two links, base to tip.

        Args:
            tip: a link.
            base: a link above it; "" takes the root.

        Raises:
            ModelError: there is no such link, or it does not hang on the base.
        """
        if tip not in self.links:
            raise ModelError(f"{self.file}: no link '{tip}': {suggest_nearest(tip, self.links)}")
        above = {joint.child: joint for joint in self.joints.values()}
        chain, link = [], tip
        while link in above and link != base:
            chain.append(above[link])
            link = above[link].parent
        if base and link != base:
            raise ModelError(f"{self.file}: link '{tip}' does not hang on '{base}'")
        return chain[::-1]

    def find_links_below(self, top: str) -> set[str]:
        """Return a link and all that hang on it."""
        return _reached(top, self.joints.values())

    def compute_link_poses(self, positions: Mapping[str, float] | None = None) -> dict[str, Matrix]:
        """Return the (4, 4) pose of every link in the frame of the root.

        Args:
            positions: joint name -> angle [rad] or travel [m]; others are at zero.
        """
        at, poses = positions or {}, {}
        for link in self.links:
            pose = np.eye(4)
            for joint in self.get_chain(link):
                pose = pose @ joint.origin @ joint.compute_motion(at.get(joint.name, 0.0))
            poses[link] = pose
        return poses

    def find_mesh(self, name: str) -> Path | None:
        """Find a mesh the file names, beside or above it as PyBullet does; None: it is not there.

        Args:
            name: as the file has it, with or without "package://" or "file://".
        """
        short = strip_scheme(name)
        return next((f / short for f in self.file.parents if (f / short).is_file()), None)


def strip_scheme(name: str) -> str:
    """Return a mesh's name without "package://" or "file://"."""
    return name.removeprefix("package://").removeprefix("file://")


def find_urdf(reference: str) -> Path:
    """Find a URDF: a path, or "package:path" inside an installed Python package.

    Raises:
        ModelError: not there; says what to install or to give.
        MissingExtraError: it comes with a package of an extra that is not installed.
    """
    package, colon, inside = reference.partition(":")
    if not colon:
        file = Path(reference).expanduser()
    else:
        if package in OPTIONAL:
            require_package(package, f"The URDF {reference}")
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


def read_urdf(file: str | Path) -> Urdf:
    """Read a URDF and check how it hangs together.

    Raises:
        ModelError: unreadable, no URDF, a name given twice or not at all, a link with two parents,
            several roots, links in a circle, or a number that is none; names the link or joint.
    """
    path = Path(file)
    try:
        element = ElementTree.parse(path).getroot()  # noqa: S314 - a file of the user's own
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        # The last two: an encoding that Python or its XML parser does not know.
        raise ModelError(f"cannot read the URDF {path}: {error}") from error
    try:
        links = _named(element, "link")
        for name, link in links.items():
            for origin in link.iter("origin"):
                read_origin(origin, f"link '{name}'")
        joints = {n: _read_joint(n, j, links) for n, j in _named(element, "joint").items()}
        return Urdf(path, element, links, joints, _find_root(links, joints.values()))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def read_origin(origin: ElementTree.Element | None, owner: str) -> tuple[Vector, Vector]:
    """Return xyz [m] and roll, pitch, yaw [rad] of an origin; zeros where there is none.

    Args:
        origin: the element, or None.
        owner: link or joint it belongs to, for messages.

    Raises:
        ModelError: not three finite numbers each.
    """
    if origin is None:
        return _ZERO, _ZERO
    xyz, rpy = (_read_vector(origin, key, _ZERO, owner) for key in ("xyz", "rpy"))
    return xyz, rpy


def _named(root: ElementTree.Element, tag: str) -> dict[str, ElementTree.Element]:
    """Return the elements of a tag by name.

    Raises:
        ModelError: one without a name, two of one name, or no link at all.
    """
    named: dict[str, ElementTree.Element] = {}
    for element in root.findall(tag):
        name = element.get("name", "")
        if not name:
            raise ModelError(f"{tag} number {len(named) + 1} has no name")
        if name in named:
            raise ModelError(f"two {tag}s are called '{name}': rename one")
        named[name] = element
    if tag == "link" and not named:
        raise ModelError("no links: is it a URDF? A xacro file becomes one by `xacro FILE`")
    return named


def _read_joint(
    name: str, element: ElementTree.Element, links: Mapping[str, ElementTree.Element]
) -> UrdfJoint:
    owner, kind = f"joint '{name}'", str(element.get("type"))
    if kind not in KINDS:
        raise ModelError(f"{owner} is of the unknown type '{kind}': {suggest_nearest(kind, KINDS)}")
    ends = []
    for role in ("parent", "child"):
        end = element.find(role)
        link = "" if end is None else end.get("link", "")
        if not link:
            raise ModelError(f"{owner} lacks parent or child")
        if link not in links:
            raise ModelError(f"{owner} has the {role} '{link}', which is no link of the file")
        ends.append(link)
    xyz, rpy = read_origin(element.find("origin"), owner)
    axis_element = element.find("axis")
    axis: Vector = (1.0, 0.0, 0.0)
    if axis_element is not None:
        axis = _read_vector(axis_element, "xyz", axis, owner)
    if kind in (*TURNING, "prismatic") and not any(axis):
        raise ModelError(f"{owner}: its axis is zero")
    limit = element.find("limit")
    limits = {}
    for key in ("lower", "upper", "velocity", "effort"):
        text = None if limit is None else limit.get(key)
        if text is not None:
            (limits[key],) = _read_numbers(text, 1, f"{owner}: limit {key}", isnan)
    parent, child = ends
    return UrdfJoint(name, kind, parent, child, xyz, rpy, axis, limits)


def _read_vector(element: ElementTree.Element, key: str, other: Vector, owner: str) -> Vector:
    text = element.get(key)
    if text is None:
        return other
    x, y, z = _read_numbers(text, 3, f"{owner}: {element.tag} {key}", lambda v: not isfinite(v))
    return x, y, z


def _read_numbers(text: str, count: int, what: str, is_bad: Callable[[float], bool]) -> list[float]:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count or any(map(is_bad, values)):
        number = "a number" if count == 1 else f"{count} finite numbers"
        raise ModelError(f"{what} = '{text}' must be {number}")
    return values


def _find_root(links: Mapping[str, ElementTree.Element], joints: Collection[UrdfJoint]) -> str:
    """Return the one link that all others hang on.

    Raises:
        ModelError: a link with two parents, several roots, or links in a circle.
    """
    above: dict[str, str] = {}
    for joint in joints:
        if joint.child in above:
            raise ModelError(
                f"link '{joint.child}' has two parents: joints '{above[joint.child]}' and "
                f"'{joint.name}'"
            )
        above[joint.child] = joint.name
    roots = [name for name in links if name not in above]
    if len(roots) > 1:
        raise ModelError(
            f"several roots: nothing holds the links {_quoted(roots)} together; join them by joints"
        )
    circle = set(links) - (_reached(roots[0], joints) if roots else set())
    if circle:
        raise ModelError(f"links in a circle: {_quoted(sorted(circle))} hang on one another")
    return roots[0]


def _reached(top: str, joints: Collection[UrdfJoint]) -> set[str]:
    below: dict[str, list[str]] = {}
    for joint in joints:
        below.setdefault(joint.parent, []).append(joint.child)
    reached, waiting = set(), [top]
    while waiting:
        link = waiting.pop()
        reached.add(link)
        waiting += below.get(link, ())
    return reached


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
