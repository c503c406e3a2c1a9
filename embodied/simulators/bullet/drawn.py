"""What PyBullet draws, as triangles: its visual shapes, link by link, and where the links are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from embodied.simulators.base import Material, Scene, SceneObject
from embodied.simulators.bullet.errors import SimulationError
from embodied.simulators.bullet.world import BulletWorld
from embodied.simulators.scenes.builder import MeshPart, SceneBuilder
from embodied.simulators.scenes.mesh import read_parts
from embodied.types import quaternion_to_matrix

Array = NDArray[np.float64]

BACKGROUND = "background"


def build_visual_scene(
    world: BulletWorld, bodies: Mapping[str, int]
) -> tuple[Scene, list[tuple[str, int]]]:
    """Read the visual shapes of some bodies.

    Args:
        world: made with `visuals=True`.
        bodies: their numbers by name.

    Returns:
        A scene with one object for each link that is drawn, in the link's frame (its categories are
        `BACKGROUND` and the names of the bodies, which semantic images show by their index), and
        body and link (-1: base) of each of its objects but the first, which is nothing.

    Raises:
        SimulationError: a shape of a kind that is not drawn.
        SceneError: a mesh that is missing or damaged.
    """
    builder = SceneBuilder("table")
    builder.objects[0] = SceneObject(BACKGROUND, BACKGROUND)
    anchors: list[tuple[str, int]] = []
    for name, body in bodies.items():
        numbers: dict[int, int] = {}
        for shape in world.bullet.getVisualShapeData(body, physicsClientId=world.client):
            link = int(shape[1])
            if link not in numbers:
                numbers[link] = builder.add_object(name, f"{name} {link}")
                anchors.append((name, link))
            local = np.eye(4)
            local[:3, 3], local[:3, :3] = shape[5], quaternion_to_matrix(np.array(shape[6]))
            for part in _parts(world.bullet, shape):
                builder.add_part(part, numbers[link], local)
    scene = builder.build_scene()
    categories = (BACKGROUND, *bodies)
    return Scene(
        scene.name, scene.vertices, scene.faces, scene.face_object, scene.face_material,
        scene.materials, scene.uv, scene.colors, scene.objects, categories,
    ), anchors  # fmt: skip


class LinkPoses:
    """Reads where the drawn links of a world are.

    Args:
        world: any world with those bodies.
        bodies: their numbers by name.
        anchors: as `build_visual_scene` returns them.
    """

    def __init__(
        self, world: BulletWorld, bodies: Mapping[str, int], anchors: list[tuple[str, int]]
    ) -> None:
        self._world = world
        self._count = len(anchors)
        self._bases: list[tuple[int, int]] = []
        self._links: list[tuple[int, list[int], list[int]]] = []
        # PyBullet says where the centre of mass of a base is; what is drawn hangs on its frame.
        self._inertial = np.broadcast_to(np.eye(4), (self._count, 4, 4)).copy()
        for name in dict.fromkeys(name for name, _ in anchors):
            body = bodies[name]
            rows = [row for row, (owner, link) in enumerate(anchors) if owner == name and link >= 0]
            if rows:
                self._links.append((body, [anchors[row][1] for row in rows], rows))
            if (name, -1) in anchors:
                row = anchors.index((name, -1))
                self._bases.append((body, row))
                facts = world.bullet.getDynamicsInfo(body, -1, physicsClientId=world.client)
                offset = np.eye(4)
                offset[:3, 3], offset[:3, :3] = facts[3], quaternion_to_matrix(np.array(facts[4]))
                self._inertial[row] = np.linalg.inv(offset)

    def read_poses(self) -> Array:
        """Return the poses (A, 7) of bases' centres of mass and of links: position, quaternion."""
        bullet, client = self._world.bullet, self._world.client
        found = np.empty((self._count, 7))
        for body, row in self._bases:
            position, rotation = bullet.getBasePositionAndOrientation(body, physicsClientId=client)
            found[row] = (*position, *rotation)
        for body, links, rows in self._links:
            states = bullet.getLinkStates(
                body, links, computeForwardKinematics=1, physicsClientId=client
            )
            found[rows] = [(*state[4], *state[5]) for state in states]
        return found

    def compute_frames(self, poses: Array) -> Array:
        """Return the frames (..., A, 4, 4) that drawn shapes hang on, from poses as read."""
        frames = np.zeros((*poses.shape[:-1], 4, 4))
        frames[..., :3, :3], frames[..., :3, 3] = (
            quaternion_to_matrix(poses[..., 3:]),
            poses[..., :3],
        )
        frames[..., 3, 3] = 1.0
        return np.asarray(frames @ self._inertial)


@lru_cache(maxsize=64)  # reading them takes most of the time that making cameras takes
def _mesh(file: str) -> list[MeshPart]:
    with warnings.catch_warnings():
        # trimesh on materials whose file is missing, as of meshes made for collisions
        warnings.simplefilter("ignore", RuntimeWarning)
        return read_parts(Path(file), missing=[])


def _parts(bullet: Any, shape: Any) -> list[MeshPart]:
    """Return the triangles of one visual shape, in the shape's frame."""
    kind, size, file, color = shape[2], shape[3], shape[4].decode(), shape[7][:3]
    tint = Material((float(color[0]), float(color[1]), float(color[2])))
    if kind == bullet.GEOM_MESH:
        white = min(color) > 0.99
        scaled = [part.get_transformed(np.diag([*size, 1.0])) for part in _mesh(file)]
        # As PyBullet does: a colour of the URDF's own wins over the mesh file's, but for textures.
        return [
            part
            if white and (part.material != Material() or part.colors is not None)
            else MeshPart(part.vertices, part.faces, None, None, tint, part.name)
            for part in scaled
        ]
    if kind == bullet.GEOM_BOX:
        solid = trimesh.creation.box(size)
    elif kind == bullet.GEOM_SPHERE:
        solid = trimesh.creation.icosphere(subdivisions=3, radius=size[0])
    elif kind == bullet.GEOM_CYLINDER:
        solid = trimesh.creation.cylinder(size[1], size[0], sections=32)
    elif kind == bullet.GEOM_CAPSULE:
        solid = trimesh.creation.capsule(size[0], size[1])
        solid.apply_translation((0, 0, -size[0] / 2) if solid.bounds[0, 2] > -size[1] else (0,) * 3)
    else:
        raise SimulationError(
            f"a visual shape of PyBullet's kind {kind} is not drawn: allowed are box, sphere, "
            "cylinder, capsule and mesh"
        )
    return [MeshPart(np.asarray(solid.vertices), np.asarray(solid.faces), material=tint)]
