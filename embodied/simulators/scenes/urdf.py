"""Articulated objects (URDF) frozen in one joint position: the drawn meshes of every link."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from embodied.errors import SceneError
from embodied.simulators.scenes.builder import MeshPart
from embodied.simulators.scenes.mesh import read_parts


def read_urdf(path: Path, joints: Mapping[str, float] | None = None) -> list[MeshPart]:
    """Read a URDF's visuals in the frame of its base link.

    Args:
        path: the .urdf file; its meshes are found relative to it.
        joints: joint name -> angle [rad] or travel [m]; others are at zero.

    Raises:
        SceneError: damaged XML, a mesh that is not there, or links in a circle.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 (no entities are resolved; local data)
    except (ElementTree.ParseError, OSError) as cause:
        raise SceneError(f"{path}: cannot be read as URDF ({cause}). Download it again.") from cause
    parents: dict[str, tuple[str, NDArray[np.float64]]] = {}
    for joint in root.findall("joint"):
        parent, child = joint.find("parent"), joint.find("child")
        if parent is None or child is None:
            raise SceneError(f"{path}: joint '{joint.get('name')}' does not name two links")
        pose = _origin(joint) @ _motion(joint, (joints or {}).get(joint.get("name", ""), 0.0))
        parents[child.get("link", "")] = (parent.get("link", ""), pose)
    parts = []
    for link in root.findall("link"):
        pose = _link_pose(link.get("name", ""), parents, path)
        for visual in link.findall("visual"):
            geometry = visual.find("geometry")
            if geometry is not None:
                at = pose @ _origin(visual)
                parts += [part.get_transformed(at) for part in _geometry(geometry, path)]
    return parts


def _link_pose(
    name: str, parents: Mapping[str, tuple[str, NDArray[np.float64]]], path: Path
) -> NDArray[np.float64]:
    pose = np.eye(4)
    for _ in range(len(parents) + 1):
        if name not in parents:
            return pose
        name, step = parents[name]
        pose = step @ pose
    raise SceneError(f"{path}: its links hang in a circle; correct the file")


def _geometry(geometry: ElementTree.Element, path: Path) -> list[MeshPart]:
    for shape in geometry:
        if shape.tag == "mesh":
            file = path.parent / shape.get("filename", "").removeprefix("package://")
            scale = [float(v) for v in shape.get("scale", "1 1 1").split()]
            return [p.get_transformed(np.diag([*scale, 1.0])) for p in read_parts(file)]
        if shape.tag == "box":
            solid = trimesh.creation.box([float(v) for v in shape.get("size", "1 1 1").split()])
        elif shape.tag == "sphere":
            solid = trimesh.creation.icosphere(radius=float(shape.get("radius", "1")))
        elif shape.tag == "cylinder":
            size = {k: float(shape.get(k, "1")) for k in ("radius", "length")}
            solid = trimesh.creation.cylinder(size["radius"], size["length"])
        else:
            continue
        return [MeshPart(np.asarray(solid.vertices), np.asarray(solid.faces))]
    return []


def _origin(element: ElementTree.Element) -> NDArray[np.float64]:
    pose = np.eye(4)
    origin = element.find("origin")
    if origin is not None:
        angles = [float(v) for v in origin.get("rpy", "0 0 0").split()]
        pose[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
        pose[:3, 3] = [float(v) for v in origin.get("xyz", "0 0 0").split()]
    return pose


def _motion(joint: ElementTree.Element, value: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    axis_tag = joint.find("axis")
    text = "1 0 0" if axis_tag is None else axis_tag.get("xyz", "1 0 0")
    axis = np.array([float(v) for v in text.split()])
    if joint.get("type") == "prismatic":
        pose[:3, 3] = axis * value
    elif joint.get("type") in ("revolute", "continuous"):
        pose[:3, :3] = Rotation.from_rotvec(axis * value).as_matrix()
    return pose
