"""Articulated objects (URDF) frozen in one joint position: the drawn meshes of every link."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh

from embodied.errors import SceneError
from embodied.simulators.scenes.builder import MeshPart
from embodied.simulators.scenes.mesh import read_parts
from robots.errors import ModelError
from robots.kinematics import build_transform
from robots.urdf import Urdf, read_origin, read_urdf, strip_scheme


def read_articulated_object(
    path: Path, joints: Mapping[str, float] | None = None
) -> list[MeshPart]:
    """Read a URDF's visuals in the frame of its base link.

    Args:
        path: the .urdf file; its meshes are found relative to it.
        joints: joint name -> angle [rad] or travel [m]; others are at zero.

    Raises:
        SceneError: damaged, a tree that does not hold together, or a mesh that is not there.
    """
    try:
        urdf = read_urdf(path)
    except ModelError as cause:
        raise SceneError(f"{cause}. Correct the file, or download it again.") from cause
    poses = urdf.compute_link_poses(joints)
    parts = []
    for name, link in urdf.links.items():
        for visual in link.findall("visual"):
            geometry = visual.find("geometry")
            if geometry is not None:
                origin = read_origin(visual.find("origin"), f"link '{name}'")
                at = poses[name] @ build_transform(*origin)
                parts += [part.get_transformed(at) for part in _read_geometry(geometry, urdf)]
    return parts


def _read_geometry(geometry: ElementTree.Element, urdf: Urdf) -> list[MeshPart]:
    for shape in geometry:
        if shape.tag == "mesh":
            name = shape.get("filename", "")
            file = urdf.find_mesh(name) or urdf.file.parent / strip_scheme(name)
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
